;; Recursion with many values alive across the call.
(module
  (func $f (param i64) (result i64) (local i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64)
    (local.set 1 (i64.add (local.get 0) (i64.const 1))) (local.set 2 (i64.mul (local.get 1) (local.get 1)))
    (local.set 3 (i64.mul (local.get 2) (local.get 1))) (local.set 4 (i64.mul (local.get 3) (local.get 1)))
    (local.set 5 (i64.mul (local.get 4) (local.get 1))) (local.set 6 (i64.mul (local.get 5) (local.get 1)))
    (local.set 7 (i64.mul (local.get 6) (local.get 1))) (local.set 8 (i64.mul (local.get 7) (local.get 1)))
    (local.set 9 (i64.mul (local.get 8) (local.get 1))) (local.set 10 (i64.mul (local.get 9) (local.get 1)))
    (local.set 16 (call $f (local.get 1)))
    (i64.add (local.get 16) (i64.add (local.get 2) (i64.add (local.get 3) (i64.add (local.get 4) (i64.add (local.get 5)
      (i64.add (local.get 6) (i64.add (local.get 7) (i64.add (local.get 8) (i64.add (local.get 9) (local.get 10)))))))))))
  (func (export "run") (drop (call $f (i64.const 1)))))
