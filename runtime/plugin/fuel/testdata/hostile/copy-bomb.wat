;; 8 MiB copied onto itself, one byte further, in each turn.
(module (memory 256)
  (func (export "run") (loop $l (memory.copy (i32.const 1) (i32.const 0) (i32.const 0x800000)) (br $l))))
