;; Jumps that no processor predicts.
(module
  (func (export "run") (local $x i64)
    (local.set $x (i64.const 88172645463325252))
    (loop $l
      (local.set $x (i64.xor (local.get $x) (i64.shl (local.get $x) (i64.const 13))))
      (local.set $x (i64.xor (local.get $x) (i64.shr_u (local.get $x) (i64.const 7))))
      (local.set $x (i64.xor (local.get $x) (i64.shl (local.get $x) (i64.const 17))))
      (block $7 (block $6 (block $5 (block $4 (block $3 (block $2 (block $1 (block $0
        (br_table $0 $1 $2 $3 $4 $5 $6 $7 (i32.and (i32.wrap_i64 (local.get $x)) (i32.const 7))))
        (br $l)) (br $l)) (br $l)) (br $l)) (br $l)) (br $l)) (br $l))
      (br $l))))
