;; describe emits all that there is of a record. It is written from abi/ABI.md alone, in the text format of WebAssembly.
;;
;; The memory: page 0 the text of foldrun_error | from 65536 on the arena | behind the frame in it, the out frame.
;; Nothing is copied: what the entries point to lies in the in frame.
(module
  (memory (export "memory") 1)
  (data (i32.const 16) "the in frame is none of ABI version 1")
  (global $result (mut i32) (i32.const 0)) ;; where the next result goes
  (global $entry (mut i32) (i32.const 0))  ;; and the next entry
  (global $failed (mut i32) (i32.const 0))

  (func (export "foldrun_abi_v1"))

  ;; reserve makes memory end at an address or beyond it, and says whether that went well.
  (func $reserve (param $end i64) (result i32)
    (local $missing i64)
    (local.set $missing (i64.sub (local.get $end) (i64.shl (i64.extend_i32_u (memory.size)) (i64.const 16))))
    (if (i64.le_s (local.get $missing) (i64.const 0)) (then (return (i32.const 1))))
    (if (i64.gt_s (local.get $missing) (i64.const 0x40000000)) (then (return (i32.const 0))))
    (i32.ne (i32.const -1)
      (memory.grow (i32.wrap_i64 (i64.shr_u (i64.add (local.get $missing) (i64.const 65535)) (i64.const 16))))))

  (func (export "foldrun_buffer") (param $min i32) (result i32)
    (select (i32.const 65536) (i32.const 0)
      (call $reserve (i64.add (i64.const 65536) (i64.extend_i32_u (local.get $min))))))

  (func (export "foldrun_error") (result i64)
    (select (i64.const 0x1000000025) (i64.const 0) (global.get $failed)))

  ;; emit adds an entry. What an entry does not say is 0: what lay there before is written over.
  (func $emit (param $index i32) (param $key i32) (param $keylen i32) (param $value i32) (param $valuelen i32)
    (i32.store (global.get $entry) (local.get $index))
    (i32.store offset=4 (global.get $entry) (local.get $key))
    (i32.store offset=8 (global.get $entry) (local.get $keylen))
    (i32.store offset=12 (global.get $entry) (local.get $value))
    (i32.store offset=16 (global.get $entry) (local.get $valuelen))
    (i32.store offset=20 (global.get $entry) (i32.const 0))
    (i64.store offset=24 (global.get $entry) (i64.const 0))
    (global.set $entry (i32.add (global.get $entry) (i32.const 32))))

  ;; describe answers the record at an address in the frame.
  (func $describe (param $in i32) (param $rec i32)
    (local $h i32) (local $headers i32)
    (call $emit (i32.const 0) (local.get $rec) (i32.const 16) (i32.add (local.get $rec) (i32.const 48)) (i32.const 1))
    (call $emit (i32.const 1)
      (i32.add (local.get $in) (i32.load offset=32 (local.get $rec))) (i32.load offset=36 (local.get $rec))
      (i32.const 0) (i32.const 0))
    (call $emit (i32.const 2)
      (i32.add (local.get $in) (i32.load offset=16 (local.get $rec))) (i32.load offset=20 (local.get $rec))
      (i32.add (local.get $in) (i32.load offset=24 (local.get $rec))) (i32.load offset=28 (local.get $rec)))
    (local.set $headers (i32.load offset=44 (local.get $rec)))
    (local.set $h (i32.add
      (i32.add (local.get $in) (i32.load offset=16 (local.get $in)))
      (i32.shl (i32.load offset=40 (local.get $rec)) (i32.const 4))))
    (i32.store (global.get $result) (i32.const 1))
    (i32.store offset=4 (global.get $result) (i32.add (i32.const 3) (local.get $headers)))
    (i64.store offset=8 (global.get $result) (i64.const 0))
    (block $done
      (loop $next
        (br_if $done (i32.eqz (local.get $headers)))
        (call $emit (i32.const 3)
          (i32.add (local.get $in) (i32.load (local.get $h))) (i32.load offset=4 (local.get $h))
          (i32.add (local.get $in) (i32.load offset=8 (local.get $h))) (i32.load offset=12 (local.get $h)))
        (local.set $h (i32.add (local.get $h) (i32.const 16)))
        (local.set $headers (i32.sub (local.get $headers) (i32.const 1)))
        (br $next))))

  ;; good says whether a frame is one of ABI version 1, perhaps of a later minor version.
  (func $good (param $in i32) (param $len i32) (result i32)
    (if (i32.lt_u (local.get $len) (i32.const 32)) (then (return (i32.const 0))))
    (if (i32.ne (i32.load (local.get $in)) (i32.const 0x31495246)) (then (return (i32.const 0)))) ;; FRI1
    (if (i32.ne (i32.load offset=20 (local.get $in)) (local.get $len)) (then (return (i32.const 0))))
    (if (i32.lt_u (i32.load16_u offset=4 (local.get $in)) (i32.const 32)) (then (return (i32.const 0))))
    (if (i32.lt_u (i32.load16_u offset=6 (local.get $in)) (i32.const 64)) (then (return (i32.const 0))))
    (if (i32.and (i32.or (i32.load16_u offset=4 (local.get $in)) (i32.load16_u offset=6 (local.get $in))) (i32.const 7))
      (then (return (i32.const 0))))
    (i32.and
      (i64.le_u ;; the records are within the frame
        (i64.add (i64.extend_i32_u (i32.load16_u offset=4 (local.get $in)))
          (i64.mul (i64.extend_i32_u (i32.load16_u offset=6 (local.get $in))) (i64.extend_i32_u (i32.load offset=8 (local.get $in)))))
        (i64.extend_i32_u (local.get $len)))
      (i64.le_u ;; and so are the headers
        (i64.add (i64.extend_i32_u (i32.load offset=16 (local.get $in)))
          (i64.shl (i64.extend_i32_u (i32.load offset=12 (local.get $in))) (i64.const 4)))
        (i64.extend_i32_u (local.get $len)))))

  (func (export "foldrun_transform") (param $in i32) (param $len i32) (result i64)
    (local $n i32) (local $i i32) (local $rec i32) (local $out i32) (local $first i32)
    (global.set $failed (i32.const 1))
    (if (i32.eqz (call $good (local.get $in) (local.get $len))) (then (return (i64.const 0))))
    (local.set $n (i32.load offset=8 (local.get $in)))
    (local.set $out (i32.and (i32.add (i32.add (local.get $in) (local.get $len)) (i32.const 7)) (i32.const -8)))
    ;; 32 for the header, 16 for each result, 32 for each entry: three of each record, and one of each header
    (if (i32.eqz (call $reserve (i64.add
          (i64.add (i64.extend_i32_u (local.get $out)) (i64.const 32))
          (i64.add (i64.mul (i64.extend_i32_u (local.get $n)) (i64.const 112))
            (i64.shl (i64.extend_i32_u (i32.load offset=12 (local.get $in))) (i64.const 5))))))
      (then (return (i64.const 0))))
    (global.set $failed (i32.const 0))
    (global.set $result (i32.add (local.get $out) (i32.const 32)))
    (local.set $first (i32.add (global.get $result) (i32.shl (local.get $n) (i32.const 4))))
    (global.set $entry (local.get $first))
    (local.set $rec (i32.add (local.get $in) (i32.load16_u offset=4 (local.get $in))))
    (block $done
      (loop $next
        (br_if $done (i32.eq (local.get $i) (local.get $n)))
        (i32.store offset=24 (local.get $in) (local.get $i)) ;; the progress
        (call $describe (local.get $in) (local.get $rec))
        (global.set $result (i32.add (global.get $result) (i32.const 16)))
        (local.set $rec (i32.add (local.get $rec) (i32.load16_u offset=6 (local.get $in))))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br $next)))
    (i32.store (local.get $out) (i32.const 0x314f5246)) ;; FRO1
    (i32.store offset=4 (local.get $out) (i32.const 0x00100020)) ;; header size 32, result size 16
    (i32.store offset=8 (local.get $out) (i32.const 32)) ;; entry size
    (i32.store offset=12 (local.get $out) (local.get $n))
    (i32.store offset=16 (local.get $out) (i32.shr_u (i32.sub (global.get $entry) (local.get $first)) (i32.const 5)))
    (i32.store offset=20 (local.get $out) (i32.const 0))
    (i64.store offset=24 (local.get $out) (i64.const 0))
    (i64.or
      (i64.shl (i64.extend_i32_u (local.get $out)) (i64.const 32))
      (i64.extend_i32_u (i32.sub (global.get $entry) (local.get $out))))))
