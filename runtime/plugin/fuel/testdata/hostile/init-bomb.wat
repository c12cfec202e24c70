;; A data segment written again and again.
(module (memory 1) (data $d "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef")
  (func (export "run") (loop $l (memory.init $d (i32.const 0) (i32.const 0) (i32.const 63)) (br $l))))
