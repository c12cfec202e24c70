;; Recursion through a table.
(module
  (type $t (func))
  (table funcref (elem $f))
  (func $f (export "run") (call_indirect (type $t) (i32.const 0))))
