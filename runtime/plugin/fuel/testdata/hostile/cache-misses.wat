;; Loads that wait for each other and miss every cache, over 64 MiB.
(module (memory 1024)
  (func (export "run") (local $i i32) (local $x i32)
    (loop $l
      (local.set $x (i32.and (i32.add (i32.mul (i32.add (local.get $x) (i32.load (local.get $x))) (i32.const 1664525)) (i32.const 1013904223)) (i32.const 0x3fffffc)))
      (br $l))))
