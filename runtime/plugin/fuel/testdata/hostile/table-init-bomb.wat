;; An element segment written again and again.
(module (table 64 funcref) (elem $e func $f $f $f $f $f $f $f) (func $f)
  (func (export "run") (loop $l (table.init 0 $e (i32.const 0) (i32.const 0) (i32.const 7)) (br $l))))
