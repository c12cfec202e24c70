;; Memory that grows by a page a turn, and fails to after the limit.
(module (memory 0)
  (func (export "run") (loop $l (drop (memory.grow (i32.const 1))) (br $l))))
