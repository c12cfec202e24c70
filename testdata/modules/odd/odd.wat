;; odd misbehaves as each record's value tells it: the module of package plugin's tests. One index, main.
;;
;;     value = "T" any   traps
;;           | "P" any   stores its index as the progress hint, then traps
;;           | "W" any   stores 0 as the hint, then traps
;;           | "Z" any   stores 2^31-1 as the hint, then traps
;;           | "X" any   proc_exit(3)
;;           | "A" any   env.abort
;;           | "0" any   the call returns 0; foldrun_error says "a reason"
;;           | "B" any   the call returns a frame of 1 byte at address 1
;;           | "M" any   error, code 9, with a message of 2 MiB
;;           | "I" any   one entry, to an index that the manifest does not have
;;           | "C" any   (main, key, wall clock 8 bytes, monotonic clock 8, random 16)
;;           | "S" any   sleeps for a second, then as "C"
;;           | "G" any   logs "line" 300 times at warn, then as the rest
;;           | rest      (main, key, value)
;;
;; Frames of more than 200,000 bytes have no room. A config other than {} traps if its third byte is "t", and is refused
;; with code 7 and "a reason" if it is anything else.
(module
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
  (import "wasi_snapshot_preview1" "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (import "foldrun_v1" "log" (func $log (param i32 i32 i32)))
  (import "env" "abort" (func $abort (param i32 i32 i32 i32)))
  ;; texts at 0, a subscription at 128, the out frame at 4096, 32 bytes a record at 32768, the arena at 65536
  (memory (export "memory") 64)
  (data (i32.const 0) "a reason")
  (data (i32.const 64) "line")
  (global $result (mut i32) (i32.const 0))
  (global $entry (mut i32) (i32.const 0))
  (global $entries (mut i32) (i32.const 0))

  (func (export "foldrun_abi_v1"))
  (func (export "foldrun_error") (result i64) (i64.const 8))
  (func (export "foldrun_buffer") (param $min i32) (result i32)
    (select (i32.const 0) (i32.const 65536) (i32.gt_u (local.get $min) (i32.const 200000))))
  (func (export "foldrun_init") (param $at i32) (param $len i32) (result i32)
    (if (i32.le_u (local.get $len) (i32.const 2)) (then (return (i32.const 0))))
    (if (i32.eq (i32.load8_u offset=2 (local.get $at)) (i32.const 0x74)) (then unreachable))
    (i32.const 7))

  (func $emit (param $index i32) (param $key i32) (param $keylen i32) (param $value i32) (param $valuelen i32)
    (i32.store (global.get $entry) (local.get $index))
    (i32.store offset=4 (global.get $entry) (local.get $key))
    (i32.store offset=8 (global.get $entry) (local.get $keylen))
    (i32.store offset=12 (global.get $entry) (local.get $value))
    (i32.store offset=16 (global.get $entry) (local.get $valuelen))
    (i32.store offset=20 (global.get $entry) (i32.const 0))
    (i64.store offset=24 (global.get $entry) (i64.const 0))
    (i32.store (global.get $result) (i32.const 1))
    (i32.store offset=4 (global.get $result) (i32.const 1))
    (global.set $entry (i32.add (global.get $entry) (i32.const 32)))
    (global.set $entries (i32.add (global.get $entries) (i32.const 1))))

  (func $sleep
    (memory.fill (i32.const 128) (i32.const 0) (i32.const 48))
    (i32.store (i32.const 144) (i32.const 1))
    (i64.store (i32.const 152) (i64.const 1000000000))
    (drop (call $poll (i32.const 128) (i32.const 192) (i32.const 1) (i32.const 240))))

  (func $chatter (local $i i32)
    (loop $more
      (call $log (i32.const 2) (i32.const 64) (i32.const 4))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $more (i32.lt_u (local.get $i) (i32.const 300)))))

  (func $machine (param $at i32)
    (drop (call $clock (i32.const 0) (i64.const 1) (local.get $at)))
    (drop (call $clock (i32.const 1) (i64.const 1) (i32.add (local.get $at) (i32.const 8))))
    (drop (call $random (i32.add (local.get $at) (i32.const 16)) (i32.const 16))))

  (func (export "foldrun_transform") (param $in i32) (param $len i32) (result i64)
    (local $n i32) (local $i i32) (local $rec i32) (local $c i32) (local $key i32) (local $value i32) (local $room i32)
    (local.set $n (i32.load offset=8 (local.get $in)))
    (global.set $result (i32.const 4128))
    (global.set $entry (i32.add (i32.const 4128) (i32.mul (local.get $n) (i32.const 16))))
    (global.set $entries (i32.const 0))
    (memory.fill (i32.const 4096) (i32.const 0) (i32.add (i32.const 32) (i32.mul (local.get $n) (i32.const 16))))
    (block $done
      (loop $next
        (br_if $done (i32.eq (local.get $i) (local.get $n)))
        (local.set $rec (i32.add (local.get $in) (i32.add (i32.const 32) (i32.mul (local.get $i) (i32.const 64)))))
        (local.set $key (i32.add (local.get $in) (i32.load offset=16 (local.get $rec))))
        (local.set $value (i32.add (local.get $in) (i32.load offset=24 (local.get $rec))))
        (local.set $room (i32.add (i32.const 32768) (i32.mul (local.get $i) (i32.const 32))))
        (local.set $c (i32.const 0))
        (if (i32.load offset=28 (local.get $rec)) (then (local.set $c (i32.load8_u (local.get $value)))))
        (if (i32.eq (local.get $c) (i32.const 0x54)) (then unreachable))                                              ;; T
        (if (i32.eq (local.get $c) (i32.const 0x50)) (then (i32.store offset=24 (local.get $in) (local.get $i)) unreachable)) ;; P
        (if (i32.eq (local.get $c) (i32.const 0x57)) (then (i32.store offset=24 (local.get $in) (i32.const 0)) unreachable)) ;; W
        (if (i32.eq (local.get $c) (i32.const 0x5a)) (then (i32.store offset=24 (local.get $in) (i32.const 0x7fffffff)) unreachable)) ;; Z
        (if (i32.eq (local.get $c) (i32.const 0x58)) (then (call $proc_exit (i32.const 3))))                          ;; X
        (if (i32.eq (local.get $c) (i32.const 0x41)) (then (call $abort (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 1)))) ;; A
        (if (i32.eq (local.get $c) (i32.const 0x30)) (then (return (i64.const 0))))                                   ;; 0
        (if (i32.eq (local.get $c) (i32.const 0x42)) (then (return (i64.const 0x100000001))))                         ;; B
        (if (i32.eq (local.get $c) (i32.const 0x53)) (then (call $sleep)))                                            ;; S
        (if (i32.eq (local.get $c) (i32.const 0x47)) (then (call $chatter)))                                          ;; G
        (if (i32.eq (local.get $c) (i32.const 0x4d)) (then                                                            ;; M
          (i32.store (global.get $result) (i32.const 0x90003))
          (i32.store offset=8 (global.get $result) (i32.const 0x80000)) ;; beyond the arena: the same bytes in every call
          (i32.store offset=12 (global.get $result) (i32.const 0x200000)))
        (else (if (i32.or (i32.eq (local.get $c) (i32.const 0x43)) (i32.eq (local.get $c) (i32.const 0x53))) (then    ;; C S
          (call $machine (local.get $room))
          (call $emit (i32.const 0) (local.get $key) (i32.load offset=20 (local.get $rec)) (local.get $room) (i32.const 32)))
        (else
          (call $emit (select (i32.const 5) (i32.const 0) (i32.eq (local.get $c) (i32.const 0x49)))                   ;; I
            (local.get $key) (i32.load offset=20 (local.get $rec)) (local.get $value) (i32.load offset=28 (local.get $rec)))))))
        (global.set $result (i32.add (global.get $result) (i32.const 16)))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br $next)))
    (i32.store (i32.const 4096) (i32.const 0x314f5246))        ;; FRO1
    (i32.store offset=4 (i32.const 4096) (i32.const 0x100020)) ;; sizes of the header and of a result,
    (i32.store offset=8 (i32.const 4096) (i32.const 32))       ;; of an entry
    (i32.store offset=12 (i32.const 4096) (local.get $n))
    (i32.store offset=16 (i32.const 4096) (global.get $entries))
    (i64.or (i64.const 0x100000000000) (i64.extend_i32_u (i32.sub (global.get $entry) (i32.const 4096))))))
