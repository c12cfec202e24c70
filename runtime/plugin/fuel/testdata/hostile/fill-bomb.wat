;; 16 MiB filled in each turn.
(module (memory 256)
  (func (export "run") (loop $l (memory.fill (i32.const 0) (i32.const 7) (i32.const 0x1000000)) (br $l))))
