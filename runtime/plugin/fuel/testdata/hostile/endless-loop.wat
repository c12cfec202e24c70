;; A loop that does nothing, for ever.
(module (func (export "run") (loop $l (br $l))))
