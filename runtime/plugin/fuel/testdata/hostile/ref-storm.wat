;; ref.func leaves the compiled code for the host.
(module (elem declare func $f) (func $f)
  (func (export "run") (loop $l (drop (ref.func $f)) (drop (ref.func $f)) (drop (ref.func $f)) (drop (ref.func $f)) (br $l))))
