;; Calls of a function that does nothing.
(module
  (func $f)
  (func (export "run") (loop $l (call $f) (call $f) (call $f) (call $f) (br $l))))
