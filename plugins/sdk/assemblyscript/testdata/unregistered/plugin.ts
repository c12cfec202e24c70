// Unregistered forgets to register its transform.
export { foldrun_abi_v1, foldrun_buffer, foldrun_init, foldrun_transform, foldrun_error } from "./foldrun";
