;; Divisions that wait for each other.
(module
  (func (export "run") (local $x i64)
    (local.set $x (i64.const -3))
    (loop $l
      (local.set $x (i64.xor (i64.const 0x7fffffffffffff1) (i64.div_s (local.get $x) (i64.const 3))))
      (local.set $x (i64.xor (i64.const 0x7fffffffffffff3) (i64.rem_u (local.get $x) (i64.add (local.get $x) (i64.const 12345)))))
      (br $l))))
