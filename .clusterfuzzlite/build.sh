#!/bin/bash -eu
# Builds every fuzz target with the sanitizer of the environment and puts it where the runner looks, with its corpus.
cd "$SRC/postern"
cargo fuzz build -O
for target in fuzz/fuzz_targets/*.rs; do
	name=$(basename "$target" .rs)
	cp "fuzz/target/x86_64-unknown-linux-gnu/release/$name" "$OUT/"
	zip --junk-paths --quiet --recurse-paths "$OUT/${name}_seed_corpus.zip" "fuzz/corpus/$name"
done
