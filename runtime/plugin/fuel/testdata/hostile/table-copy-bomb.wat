;; A table of 100 000 elements copied in each turn.
(module (table 100001 funcref)
  (func (export "run") (loop $l (table.copy 0 0 (i32.const 1) (i32.const 0) (i32.const 100000)) (br $l))))
