#!/bin/bash -eu
# Builds every fuzz target with the sanitizer of the environment and puts it where the runner looks.
cd "$SRC/postern"
cargo fuzz build -O
for target in fuzz/fuzz_targets/*.rs; do
	cp "fuzz/target/x86_64-unknown-linux-gnu/release/$(basename "$target" .rs)" "$OUT/"
done
