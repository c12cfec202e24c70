// Unregistered forgets to name its transform.
package main

import _ "tried/foldrun"

func main() {}
