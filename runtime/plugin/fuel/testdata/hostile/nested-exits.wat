;; Branches out of nested blocks and loops, each of which ends up at a loop's head.
(module
  (func (export "run") (local $i i32)
    (loop $outer
      (block $a (block $b (block $c
        (loop $inner
          (local.set $i (i32.add (local.get $i) (i32.const 1)))
          (br_if $a (i32.rem_u (local.get $i) (i32.const 3)))
          (br_if $b (i32.rem_u (local.get $i) (i32.const 5)))
          (br_if $outer (i32.rem_u (local.get $i) (i32.const 7)))
          (br $c))
        ) (br $outer)) (br $outer)) (br $outer))))
