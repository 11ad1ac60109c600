# make            the targets, explained
# make demo       see it work

VERSION    ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS    := -s -w -X main.version=$(VERSION)
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "  make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## bin/waggle
	@mkdir -p bin
	go build -tags noinstall -ldflags '$(LDFLAGS)' -o bin/ ./cmd/waggle ./cmd/waggle-cni

.PHONY: build-install
build-install: build ## bin/waggle-install, too, which has Helm: waggle install, upgrade, uninstall and sysdump are its
	go build -ldflags '$(LDFLAGS)' -o bin/waggle-install ./cmd/waggle

.PHONY: tools
tools: ## the pinned Envoy, at .tools/envoy
	@tools/fetch-envoy.sh

.PHONY: demo
demo: ## two backends, a gateway, a canary that moves without a failed request
	@tools/fetch-envoy.sh & fetch=$$!; \
	tools/progress.sh "building bin/waggle (the first time takes two minutes)" $(MAKE) --no-print-directory --silent build && \
	go build -o bin/ ./examples/demo ./examples/echo && wait $$fetch
	@bin/demo

.PHONY: test
test: tools ## everything that tests the project
	go test -race -timeout 20m ./...

.PHONY: lint
lint: ## go vet, staticcheck, gofmt
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { gofmt -l $$(git ls-files '*.go'); echo "run gofmt -w on these"; exit 1; }
	go vet ./...
	go run $(STATICCHECK) ./...

.PHONY: generate
generate: tools ## everything that is generated; compiles the BPF programs (clang 14)
	@tools/bpf-toolchain.sh
	go generate ./...

.PHONY: golden
golden: tools ## rewrite the expected results; commit only what you understand
	go test $$(git grep -l waggle/internal/golden '*_test.go' | xargs dirname | sort -u | sed 's,^,./,') -update

.PHONY: bench-routes
bench-routes: tools build ## routes at scale: start, edits, memory, no failed request
	go run ./test/bench routes

.PHONY: bench-hop
bench-hop: tools build ## CPU per request beside a hand-written Envoy, nginx and HAProxy
	go run ./test/bench hop

.PHONY: bench-l4
bench-l4: tools build sandbox ## packets' way through a node beside plain veths and kube-proxy; as root
	$(SANDBOX_FOLDER)/bin/sandbox build
	go run ./test/bench l4

.PHONY: bench-redirect
bench-redirect: tools build ## a redirected Envoy beside a static one; as root
	go run ./test/bench redirect

.PHONY: bench-gateway
bench-gateway: tools build sandbox ## Gateways in a cluster: new routes, many routes, traffic, changes; as root
	$(SANDBOX_FOLDER)/bin/sandbox build
	go run ./test/bench gateway

.PHONY: bench-l7-east-west
bench-l7-east-west: tools build ## a Service by way of the node's Envoy, beside without and a sidecar; as root
	go run ./test/bench l7-east-west

.PHONY: bench-cec
bench-cec: tools ## 1,000 CiliumEnvoyConfigs on 1,000 Services of a node; as root
	WAGGLE_CONFIGS=1000 go test -count=1 -timeout 20m -v -run 'TestManyConfigs$$' ./test/nodes

.PHONY: nodes-long
nodes-long: tools ## ten replacements of Envoy under every kind of load: no request fails
	WAGGLE_REPLACEMENTS=10 go test -count=1 -timeout 20m -v -run 'TestReplace$$' ./test/nodes

.PHONY: fuzz
fuzz: tools ## every fuzz target, five minutes each
	go test -run '^$$' -fuzz '^FuzzManifest$$' -fuzztime 5m -fuzzminimizetime 10x -parallel 2 ./internal/manifest
	go test -run '^$$' -fuzz '^FuzzManifest$$' -fuzztime 5m -fuzzminimizetime 10x -parallel 2 ./test/hostile
	go test -run '^$$' -fuzz '^FuzzHTTPRoute$$' -fuzztime 5m -fuzzminimizetime 10x ./internal/gateway
	go test -run '^$$' -fuzz '^FuzzHostnames$$' -fuzztime 5m ./internal/gateway/field
	go test -run '^$$' -fuzz '^FuzzConf$$' -fuzztime 5m ./internal/cni
	go test -run '^$$' -fuzz '^FuzzPaths$$' -fuzztime 5m ./internal/render
	go test -run '^$$' -fuzz '^FuzzResource$$' -fuzztime 5m -fuzzminimizetime 10x ./internal/envoyconfig
	go test -run '^$$' -fuzz '^FuzzWalk$$' -fuzztime 5m -fuzzminimizetime 10x ./internal/envoyconfig
	go test -run '^$$' -fuzz '^FuzzNames$$' -fuzztime 5m ./internal/envoyconfig
	go test -run '^$$' -fuzz '^FuzzDeep$$' -fuzztime 1m ./internal/envoyconfig

.PHONY: cni-storm
cni-storm: ## 2,000 pods come and go while plugins and agents are killed (root)
	WAGGLE_STORM=2000 go test ./internal/cni -run '^TestStorm$$' -count 1 -timeout 60m -v

.PHONY: image
image: tools ## a container image at bin/waggle-image.tar, without a container engine; TAG names it
	CGO_ENABLED=0 go build -trimpath -tags noinstall -ldflags '$(LDFLAGS)' -o bin/static/ ./cmd/waggle ./cmd/waggle-cni
	go run -C tools/image . -waggle $(CURDIR)/bin/static/waggle -plugin $(CURDIR)/bin/static/waggle-cni -envoy $(CURDIR)/.tools/envoy -o $(CURDIR)/bin/waggle-image.tar $(if $(TAG),-tag $(TAG))

.PHONY: clean
clean: ## remove what was built and fetched
	rm -rf bin .tools

-include sandbox/sandbox.mk
