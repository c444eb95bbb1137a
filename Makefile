# Every target is a script in hack/; each says at its top what it does and which variables it understands.

.DEFAULT_GOAL := help
.PHONY: help build up down demo test bench book

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-7s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## build the operator
	@hack/build

up: ## run Postern on this machine: control plane, chart, two replicas
	@hack/up

down: ## end and remove all that `make up` started
	@hack/down

demo: ## run Postern and show it at work, step by step
	@hack/demo

test: ## run all tests
	@hack/test

bench: ## measure speed and memory against the goals
	@hack/bench

book: ## build the documentation as a book and check its links
	@hack/book
