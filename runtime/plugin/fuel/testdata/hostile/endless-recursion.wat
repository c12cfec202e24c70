;; Two functions that call each other, for ever.
(module
  (func $a (export "run") (call $b))
  (func $b (call $a)))
