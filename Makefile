# The two commands that do everything: `make demo` and `make test`.

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
STACK_DIR ?= /var/lib/atoll-cache/stack
GO_FILES = $(shell git ls-files '*.go' 2>/dev/null)
export STACK_DIR

.PHONY: help
help: ## show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 18

.PHONY: setup
setup: ## install what the machine lacks (apt, as root)
	@scripts/setup.sh

.PHONY: setup-e2e
setup-e2e: ## install the runtimes that the end-to-end tests try (apt, as root)
	@scripts/setup.sh e2e

.PHONY: build
build: setup ## build the programs into bin/
	CGO_ENABLED=0 go build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o bin/ ./cmd/...

.PHONY: stack
stack: build ## build the stack image from Debian packages (cached)
	stack/build-stack.sh $(STACK_DIR)

.PHONY: demo
demo: stack ## build, start, deploy examples/shop, show its traffic
	scripts/demo.sh up

.PHONY: demo-down
demo-down: ## remove everything `make demo` made
	scripts/demo.sh down

.PHONY: test
test: setup-e2e stack ## unit and component tests (root), then the end-to-end tests
	scripts/test.sh

.PHONY: e2e
e2e: setup-e2e stack ## end-to-end tests, repairs and the attack suite, with a table of what they found
	scripts/e2e.sh ./e2e ./e2e/repair ./e2e/attack

.PHONY: chaos
chaos: stack ## slow: rolling changes under load, failures, a full network
	scripts/e2e.sh ./e2e/chaos

.PHONY: bench
bench: stack ## measure against peers, print ratios
	go run ./bench/privnet
	go run ./bench/start
	go run ./bench/dns

.PHONY: fuzz
fuzz: ## slow: fuzz every parser of outside input, FUZZTIME=1m each
	scripts/fuzz.sh

.PHONY: vm
vm: setup ## slow: the parts that meet the kernel, with other kernels and cgroup v2 (VM_ACCEL=kvm)
	scripts/vm.sh bookworm
	scripts/vm.sh trixie

.PHONY: generate
generate: setup ## make the generated files again (eBPF objects, CLI reference)
	go generate ./...

.PHONY: check-generated
check-generated: generate ## fail when a generated file is not current
	git diff --exit-code --stat

.PHONY: lint
lint: setup ## gofmt, vet, staticcheck, govulncheck (when reachable), shellcheck
	scripts/lint.sh
