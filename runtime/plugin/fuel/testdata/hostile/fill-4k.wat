;; 4 KiB filled in each turn.
(module (memory 1)
  (func (export "run") (loop $l (memory.fill (i32.const 0) (i32.const 7) (i32.const 4096)) (br $l))))
