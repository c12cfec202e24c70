;; A table that grows by 100 elements a turn, up to 4 billion if it may.
(module (table 0 funcref)
  (func (export "run") (loop $l (drop (table.grow 0 (ref.null func) (i32.const 100))) (br $l))))
