# SPDX-License-Identifier: Apache-2.0

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

MODULE  := github.com/hnsguard/hnsguard
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
COMMIT  ?= $(shell git rev-parse HEAD 2>/dev/null || echo unknown)
LDFLAGS := -s -w -X $(MODULE)/internal/version.version=$(VERSION) -X $(MODULE)/internal/version.commit=$(COMMIT)
BUILD   := CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags '$(LDFLAGS)'

# Everything slow to build is cached here, outside the checkout: tools, kube-apiserver, etcd, kube-proxy, the Wine prefix.
export HNSGUARD_CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/hnsguard
BIN := bin
comma := ,

GOLANGCI_LINT_VERSION := v2.15.0
GOLANGCI_LINT := $(HNSGUARD_CACHE)/tools/golangci-lint-$(GOLANGCI_LINT_VERSION)/golangci-lint
GOVULNCHECK_VERSION := v1.9.0
# The tools of test/tools, in a folder of their versions.
TOOLS := $(HNSGUARD_CACHE)/tools/$(shell cat test/tools/go.mod test/tools/go.sum | sha256sum | cut -c1-12)
HELM := $(TOOLS)/helm
HELM_DOCS := $(TOOLS)/helm-docs
KUSTOMIZE := $(TOOLS)/kustomize
KREW := $(TOOLS)/krew
KUBECTL := $(TOOLS)/kubectl
ACTIONLINT := $(TOOLS)/actionlint
# The folder that contains prometheus and promtool.
PROMETHEUS ?= $(HNSGUARD_CACHE)/tools/prometheus-debian
CHROMIUM ?= /usr/bin/chromium
# A test that waits for what takes no time fails late rather than on a busy machine.
export GOMEGA_DEFAULT_EVENTUALLY_TIMEOUT := 30s
# The tests find the tools through these.
export HNSGUARD_HELM := $(HELM)
export HNSGUARD_KUSTOMIZE := $(KUSTOMIZE)
export HNSGUARD_KUBECTL := $(KUBECTL)
export HNSGUARD_PROMETHEUS = $(PROMETHEUS)
export HNSGUARD_CHROMIUM = $(CHROMIUM)

IMAGE ?= ghcr.io/hnsguard/hnsguard
TAGS ?= $(VERSION)

# The packages whose tests also run as Windows programs. Those below test/ start a Linux control plane.
PRODUCT := ./cmd/... ./internal/...

.PHONY: help
help: ## Show this help
	@awk 'BEGIN {FS = ":.*## "} /^##@ / {printf "\n%s\n", substr($$0, 5)} \
		/^[a-z-]+:.*## / {printf "  %-20s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##@ Run

.PHONY: demo
demo: ## Play an incident against hnsguard; needs no cluster and no Windows (the first build takes minutes)
	@echo "Building the demo." >&2
	@packages=$$(go list -deps ./cmd/hnsguard-demo | wc -l); \
	$(BUILD) -v -o $(BIN)/ ./cmd/hnsguard-demo 2>&1 | awk -v packages="$$packages" $(SHOW_PROGRESS) >&2
	@$(BIN)/hnsguard-demo $(DEMO)

# Counts the packages that "go build -v" names, and passes on everything else, such as errors. Those that Go has in its
# cache are not named, so that there are fewer than packages.
define SHOW_PROGRESS
'/^[[:alnum:].@_\/-]+$$/ { \
	n++; \
	if (n == 50) print "The first time, and after an update, Go compiles the dependencies, which takes several minutes."; \
	if (n % 50 == 0) { print "  compiled " n " of at most " packages " packages"; fflush() } \
	next \
} { print; fflush() } END { if (n >= 50) print "  compiled " n " packages; the others were compiled before" }'
endef

##@ Build

.PHONY: build
build: ## Build for this system into bin/
	$(BUILD) -o $(BIN)/ ./cmd/hnsguard

.PHONY: build-windows
build-windows: $(BIN)/hnsguard.exe $(BIN)/hnsguard-verify.exe ## Build the Windows programs into bin/

.PHONY: $(BIN)/hnsguard.exe $(BIN)/hnsguard-verify.exe
$(BIN)/hnsguard.exe $(BIN)/hnsguard-verify.exe:
	GOOS=windows GOARCH=amd64 $(BUILD) -o $@ ./cmd/$(basename $(@F))

.PHONY: notices
notices: ## Write the licences of everything that is linked into the Windows program into bin/
	mkdir -p $(BIN)
	go run ./test/dist/notices windows/amd64 ./cmd/hnsguard > $(BIN)/THIRD-PARTY-NOTICES.txt

.PHONY: image
image: ## Build the image, on Linux with docker buildx: into bin/image.tar, or to its registry with PUSH=1
	docker buildx build --file Dockerfile.windows --platform windows/amd64 \
		--build-arg VERSION=$(VERSION) --build-arg COMMIT=$(COMMIT) \
		--build-arg SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct) \
		$(foreach name,GO BASE,$(if $($(name)),--build-arg $(name)=$($(name)))) \
		$(foreach tag,$(TAGS),--tag $(IMAGE):$(tag)) --sbom=true --provenance=mode=max \
		$(if $(PUSH),--push,--output type=oci$(comma)dest=$(BIN)/image.tar) .

PLATFORMS ?= linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64
.PHONY: dist
dist: ## Build a release's archives into bin/dist, with checksums and the manifest of the kubectl plugin
	BUILD="$(BUILD)" test/dist/build.sh $(BIN)/dist $(VERSION) $(PLATFORMS)

.PHONY: verify-reproducible
verify-reproducible: ## Build the Windows program in two places without a shared cache, and compare
	GOOS=windows GOARCH=amd64 $(BUILD) -o $(BIN)/reproducible/first.exe ./cmd/hnsguard
	elsewhere=$$(mktemp -d); trap 'rm -rf "$$elsewhere"' EXIT; \
	cp -r cmd internal go.mod go.sum "$$elsewhere"; \
	cd "$$elsewhere"; \
	GOCACHE=$$elsewhere/cache GOOS=windows GOARCH=amd64 $(BUILD) -o $(CURDIR)/$(BIN)/reproducible/second.exe ./cmd/hnsguard
	cmp $(BIN)/reproducible/first.exe $(BIN)/reproducible/second.exe
	rm -r $(BIN)/reproducible

##@ Test

.PHONY: test
test: test-unit test-model test-docs test-chart test-integration ## Run unit, model, documentation, chart and integration tests

# The race detector needs a C compiler and its headers. Without them, the tests run without it.
C_COMPILER = $(shell gcc -include stdlib.h -E -x c /dev/null >/dev/null 2>&1 && echo yes)
TEST_RACE = $(if $(C_COMPILER),CGO_ENABLED=1 go test -race,$(info No C compiler: no race detector.)CGO_ENABLED=0 go test)

.PHONY: test-unit
test-unit: ## Run the unit tests, with the race detector and in random order
	$(TEST_RACE) -shuffle=on $(PRODUCT) ./test/hnstest ./test/distributions
	go test -run TakeLittle ./internal/recording # which measure the program, not the race detector

.PHONY: test-docs
test-docs: ## Check the links of the documentation, and the names that it uses
	go test -count=1 ./test/docs ./test/system/results ./test/windows

.PHONY: test-chart
test-chart: $(HELM) $(KUSTOMIZE) ## Lint and render the chart; compare it with the program, its schema and the kustomize base
	go test -count=1 ./test/chart/...

.PHONY: test-integration
test-integration: $(HELM) ## Run the whole agent against a real API server (built once, about 5 minutes)
	assets=$$(test/controlplane/assets.sh); \
	export KUBEBUILDER_ASSETS=$$assets; \
	$(TEST_RACE) -count=1 -timeout 15m ./test/integration -ginkgo.randomize-all -ginkgo.no-color

.PHONY: test-first-hour
test-first-hour: $(HELM) $(KUBECTL) ## Play a person's first hour with kubectl and helm, and compare what it shows with the transcript
	assets=$$(test/controlplane/assets.sh); \
	KUBEBUILDER_ASSETS=$$assets go test -count=1 -timeout 5m ./test/first-hour

.PHONY: test-monitoring
test-monitoring: $(HELM) $(PROMETHEUS)/prometheus ## Scrape the agent with a real Prometheus; test the alerts and dashboards
	assets=$$(test/controlplane/assets.sh); \
	KUBEBUILDER_ASSETS=$$assets go test -count=1 -timeout 5m ./test/monitoring

.PHONY: test-page
test-page: ## Use the node page in a real Chromium, with the keyboard, in light and dark
	go test -count=1 -timeout 10m ./test/page

.PHONY: screenshots
screenshots: ## Write the pictures of the node page in docs/images
	HNSGUARD_SCREENSHOTS=$(CURDIR)/docs/images go test -count=1 ./test/page -run TestScreenshots

.PHONY: test-dist
test-dist: $(KREW) $(KUBECTL) ## Build the archives of this system and of Windows, and install the kubectl plugin from them with krew
	$(MAKE) --no-print-directory dist PLATFORMS="$$(go env GOOS)/$$(go env GOARCH) windows/amd64" VERSION=v0.0.0-test
	test/dist/test.sh $(BIN)/dist v0.0.0-test $(KREW) $(KUBECTL)

.PHONY: test-windows
test-windows: build-windows ## Run the unit tests as Windows programs, under Wine
	GOOS=windows GOARCH=amd64 go test -exec $(CURDIR)/test/wine/run $(PRODUCT)
	test/wine/run $(BIN)/hnsguard.exe version
	GOOS=windows GOARCH=amd64 $(BUILD) -o $(BIN)/ ./cmd/hnsguard-demo
	test/wine/run $(BIN)/hnsguard-demo.exe --speed 4

# The versions of kube-proxy that the system test uses: one with the stale record, one that leaves duplicates, and a recent
# one. To try a version before an upgrade: make system-test KUBE_PROXY="v1.31.0 v1.33.0".
KUBE_PROXY ?= v1.32.3 v1.34.0 v1.37.2
KUBE_PROXY_ALL := v1.31.0 v1.32.3 v1.32.13 v1.33.0 v1.33.13 v1.34.0 v1.36.3 v1.37.2

.PHONY: kube-proxies
kube-proxies: ## Build each kube-proxy of the system test and of model-kube-proxy, and the control plane for Windows, once
	for version in $(KUBE_PROXY); do test/system/kubeproxy/build.sh $$version; test/winkernel/build.sh $$version; done
	GOOS=windows GOARCH=amd64 test/controlplane/assets.sh

.PHONY: system-test
system-test: build-windows $(HELM) ## Play the incidents with real kube-proxy.exe under Wine (builds each version once, in 2 minutes)
	test/system/run.sh $(BIN) "$(KUBE_PROXY)"

.PHONY: system-test-windows
system-test-windows: build-windows $(HELM) ## Play the first incident with all programs of a Windows machine under Wine, the test and the control plane too
	GOOS=windows GOARCH=amd64 test/system/run.sh $(BIN) v1.32.3 -run TestOnWindows

.PHONY: windows-programs
windows-programs: build-windows $(HELM) ## Build what the system test needs on Windows into bin/system-windows
	GOOS=windows GOARCH=amd64 test/system/programs.sh $(BIN)/system-windows $(BIN) "$(KUBE_PROXY)"

.PHONY: system-test-full
system-test-full: build-windows $(HELM) ## The same with all relevant versions and repeated runs; writes the results into the docs
	HNSGUARD_RUNS=10 HNSGUARD_RESULTS=$(CURDIR)/test/system/results/results.json HNSGUARD_BUILD=$(VERSION) \
	test/system/run.sh $(BIN) "$(KUBE_PROXY_ALL)" $(SYSTEM_TEST_ARGS)
	$(MAKE) --no-print-directory generate-results

.PHONY: test-model
test-model: ## Play a few random histories with and without hnsguard, always the same
	go test -count=1 -timeout 10m ./test/model -rapid.seed=1 -rapid.checks=30 -rapid.nofailfile

STEPS ?= 1000000
.PHONY: model
model: ## Play random histories with and without hnsguard, STEPS steps in all
	HNSGUARD_MODEL_STEPS=$(STEPS) go test -count=1 -timeout 2h ./test/model -run TestModel -v

# The versions to play: VERSION if it is given, or KUBE_PROXY.
RELEASED = $(if $(filter command,$(firstword $(origin VERSION))),$(VERSION),$(KUBE_PROXY))
MODEL_KUBE_PROXY = test/winkernel/run.sh "$(RELEASED)" \
	go test -count=1 -timeout 3h ./test/model ./internal/verdict -run 'Released' -v

.PHONY: test-model-kube-proxy
test-model-kube-proxy: ## Play a few histories with kube-proxy's own code, compare the world's kube-proxy with it (builds each version once)
	$(MODEL_KUBE_PROXY) -rapid.seed=1 -rapid.checks=$(or $(HISTORIES),80) -rapid.nofailfile

SYNCS ?= 100000
.PHONY: model-kube-proxy
model-kube-proxy: ## The same with random histories until kube-proxy has synced SYNCS times; VERSION="v1.32.3 v1.37.2" chooses
	HNSGUARD_MODEL_SYNCS=$(SYNCS) $(MODEL_KUBE_PROXY)

.PHONY: model-kube-proxy-full
model-kube-proxy-full: ## The same with all relevant versions, for hours; writes docs/results/kube-proxy-model.md
	HNSGUARD_MODEL_RESULTS=$(CURDIR)/docs/results/kube-proxy-model.md $(MAKE) --no-print-directory model-kube-proxy \
		VERSION="$(KUBE_PROXY_ALL) v1.35.4 v1.38.0-beta.0" SYNCS=1000000

.PHONY: kube-proxy-diff
kube-proxy-diff: ## Play the same histories with two releases of kube-proxy, and show what they do differently: OLD=v1.37.2 NEW=v1.38.0
	HNSGUARD_KUBE_PROXY_DIFF="$(OLD) $(NEW)" test/winkernel/run.sh "$(OLD) $(NEW)" \
		go test -count=1 -timeout 1h ./test/model -run TestReleasedKubeProxiesDiffer -v -rapid.checks=$(or $(HISTORIES),300)

.PHONY: model-defects
model-defects: ## Put back one defect after the other that was fixed, and expect the model to find it
	HNSGUARD_MODEL_DEFECTS=1 go test -count=1 -timeout 1h ./test/model -run TestTheModelFindsDefects -v

.PHONY: mutation
mutation: ## Change the code that decides about deletions in hundreds of small ways, and expect the tests to notice each
	HNSGUARD_MUTATION=1 go test -count=1 -timeout 20m ./test/mutation -v

SOAK ?= 30m
.PHONY: soak
soak: build-windows $(HELM) ## Let incidents happen for half an hour, and expect hnsguard.exe to need no more at the end
	HNSGUARD_SOAK=$(SOAK) test/system/run.sh $(BIN) v1.37.2 -run TestSoak -v

MEMORY ?= 5m
.PHONY: test-memory
test-memory: build-windows $(HELM) ## Measure the memory of hnsguard.exe and of kube-proxy.exe, at 100,000 slice addresses; writes docs/results/performance.md
	HNSGUARD_MEMORY=$(MEMORY) test/system/run.sh $(BIN) v1.37.2 -run 'TestMemory$$' -v \
		> test/bench/results/memory.partial || { cat test/bench/results/memory.partial; exit 1; }
	{ test/bench/about.sh; grep '^BenchmarkResident' test/bench/results/memory.partial; } > test/bench/results/memory.txt
	rm test/bench/results/memory.partial
	$(MAKE) --no-print-directory generate-performance

FUZZTIME ?= 1m
.PHONY: fuzz
fuzz: ## Fuzz the decoders of the configuration and of recorded files for a minute each, or for FUZZTIME
	go test -run '^$$' -fuzz FuzzDecode -fuzztime $(FUZZTIME) -fuzzminimizetime 2s ./internal/config
	go test -run '^$$' -fuzz FuzzHNS -fuzztime $(FUZZTIME) -fuzzminimizetime 2s ./internal/recording
	go test -run '^$$' -fuzz FuzzCluster -fuzztime $(FUZZTIME) -fuzzminimizetime 2s ./internal/recording
	go test -run '^$$' -fuzz FuzzBundle -fuzztime $(FUZZTIME) -fuzzminimizetime 2s ./internal/recording
	go test -run '^$$' -fuzz FuzzText -fuzztime $(FUZZTIME) -fuzzminimizetime 2s ./internal/recording

.PHONY: bench
bench: ## Measure what the agent costs at scale, in a few minutes, and write docs/results/performance.md
	test/bench/run.sh > test/bench/results/bench.partial
	mv test/bench/results/bench.partial test/bench/results/bench.txt
	$(MAKE) --no-print-directory generate-performance

.PHONY: test-scale
test-scale: ## Attach the agent to a real API server with 100,000 endpoints; writes docs/results/performance.md
	assets=$$(test/controlplane/assets.sh); \
	HNSGUARD_SCALE=1 KUBEBUILDER_ASSETS=$$assets go test -count=1 -timeout 15m -run 'TestScale|TestWaves' -v ./test/scale \
		> test/bench/results/scale.partial || { cat test/bench/results/scale.partial; exit 1; }
	{ test/bench/about.sh; grep '^Benchmark' test/bench/results/scale.partial; } > test/bench/results/scale.txt
	rm test/bench/results/scale.partial
	$(MAKE) --no-print-directory generate-performance

BASE ?= main
COUNT ?= 3
BENCHSTAT_VERSION := v0.0.0-20260908200009-22c9c6c9d4da
.PHONY: bench-compare
bench-compare: ## Measure this checkout and the revision BASE, COUNT times each, and compare them with benchstat
	test/bench/compare.sh $(BASE) $(COUNT) golang.org/x/perf/cmd/benchstat@$(BENCHSTAT_VERSION)

##@ Check

.PHONY: lint
lint: $(GOLANGCI_LINT) $(ACTIONLINT) ## Run the linters, which include go vet, for this system and for Windows
	$(GOLANGCI_LINT) run ./...
	GOOS=windows $(GOLANGCI_LINT) run $(PRODUCT) ./test/system
	$(ACTIONLINT) -shellcheck= -pyflakes=

.PHONY: format
format: $(GOLANGCI_LINT) ## Format the code
	$(GOLANGCI_LINT) fmt ./...

.PHONY: vulnerabilities
vulnerabilities: ## Look for known vulnerabilities in the code that the Windows program calls (needs vuln.go.dev)
	GOOS=windows go run golang.org/x/vuln/cmd/govulncheck@$(GOVULNCHECK_VERSION) $(PRODUCT)

.PHONY: generate
generate: generate-metrics generate-results generate-windows generate-reliability generate-performance $(HELM) $(HELM_DOCS) ## Write all generated files: kustomize base, chart values, metrics, results
	go run ./test/chart/generate .
	$(HELM_DOCS) --chart-search-root charts --sort-values-order file --log-level warning

.PHONY: verify
verify: verify-generated ## Fail if a generated file or a go.mod is out of date
	go mod tidy -diff
	cd test/controlplane && go mod tidy -diff
	cd test/bench/report && go mod tidy -diff
	cd test/tools && go mod tidy -diff
	go mod verify

.PHONY: generate-metrics
generate-metrics: ## Write docs/metrics.md from the metrics that an agent serves
	go test ./internal/agent -run TestTheReferenceOfTheMetricsIsUpToDate -count=1 -update

.PHONY: generate-performance
generate-performance: ## Write docs/results/performance.md and its plots from test/bench/results
	cd test/bench/report && go run . ../results ../../../docs/results

.PHONY: generate-results
generate-results: ## Write docs/results/kube-proxy-matrix.md and the README's table from test/system/results/results.json
	go test ./test/system/results -run TestThePagesShowTheResults -count=1 -update

.PHONY: generate-windows
generate-windows: ## Write docs/windows.md from the list of assumptions and test/windows/results
	go test ./test/windows -run TestThePageShowsTheResults -count=1 -update

.PHONY: generate-reliability
generate-reliability: ## Write docs/results/reliability.md: play everything that may go wrong, and see when it is right again
	go test ./test/model -run TestReliability -count=1 -update

.PHONY: verify-generated
verify-generated:
	sums() { find README.md charts config docs -type f | sort | xargs sha256sum; }; \
	before=$$(sums); $(MAKE) --no-print-directory generate; \
	diff <(echo "$$before") <(sums) || { echo "these files were out of date; commit what make generate has written" >&2; exit 1; }

##@ Set up

$(GOLANGCI_LINT):
	GOBIN=$(@D) go install -trimpath github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_LINT_VERSION)

$(HELM) $(HELM_DOCS) $(KUSTOMIZE) $(KREW) $(KUBECTL) $(ACTIONLINT) &:
	cd test/tools && CGO_ENABLED=0 GOBIN=$(TOOLS) go install -trimpath tool

.PHONY: print-helm
print-helm: $(HELM)
	@echo $(HELM)

# Unpacked, not installed: nothing to uninstall, and no service is started.
$(PROMETHEUS)/prometheus:
	command -v dpkg-deb >/dev/null || { echo "this is not Debian: set PROMETHEUS to the folder of prometheus and promtool" >&2; exit 1; }
	apt-get update -qq
	partial=$$(mktemp -d); trap 'rm -rf "$$partial"' EXIT; \
	cd "$$partial"; apt-get download -qq -o APT::Sandbox::User=root prometheus; dpkg-deb -x prometheus_*.deb .; \
	install -D -t $(PROMETHEUS) usr/bin/promtool usr/bin/prometheus

.PHONY: wine-packages
wine-packages: ## Install what the tests under Wine need, on Debian and as root
	command -v /usr/lib/wine/wine64 >/dev/null && command -v x86_64-w64-mingw32-gcc >/dev/null || \
	{ apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends wine64 gcc-mingw-w64-x86-64; }

.PHONY: chromium-package
chromium-package: ## Install the browser that test-page uses, on Debian and as root
	command -v $(CHROMIUM) >/dev/null || \
	{ apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium; }

.PHONY: clean
clean: ## Remove the build output from the checkout
	rm -rf $(BIN)
