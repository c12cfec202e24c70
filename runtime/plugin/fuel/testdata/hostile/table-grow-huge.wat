;; A table that grows by a billion elements: it must answer -1.
(module (table 0 funcref)
  (func (export "run") (if (i32.ne (table.grow 0 (ref.null func) (i32.const 1000000000)) (i32.const -1)) (then (loop $l (br $l))))
    unreachable))
