;; A table of 100 000 elements filled in each turn.
(module (table 100000 funcref)
  (func (export "run") (loop $l (table.fill 0 (i32.const 0) (ref.null func) (i32.const 100000)) (br $l))))
