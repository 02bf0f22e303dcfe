# What a developer does with this tree. `make` alone prints the list.

GO    ?= go
TAGS  := urfave_cli_no_docs,urfave_cli_no_suggest
PEERS := internal/peers
BROWSER := internal/browser
LINT  := bin/golangci-lint

# Settings of the caller's shell must not change what is built or tested.
$(foreach name,$(filter RAWTCP_%,$(.VARIABLES)),$(eval unexport $(name)))
export GOWORK := off
# Where git refuses to speak of this tree (it is somebody else's), go build would fail for want of a revision.
ifeq ($(shell git rev-parse HEAD 2>/dev/null),)
export GOFLAGS := $(GOFLAGS) -buildvcs=false
endif
# An ordinary user's PATH often lacks the directories where nft and sshd live.
export PATH := $(PATH):/usr/local/sbin:/usr/sbin:/sbin

.DEFAULT_GOAL := help
.PHONY: help build demo test soak bulk differ check bench bench-ping bench-explain fuzz sim mutants golden probe-loss probe-targets cover clean FORCE

help: ## print this list
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: bin/rawtcp ## build bin/rawtcp, a static binary

bin/rawtcp: FORCE
	CGO_ENABLED=0 $(GO) build -trimpath -tags $(TAGS) -o $@ ./cmd/rawtcp

demo: build ## watch a handshake, a request and a close; no root, no set-up
	@bin/rawtcp demo

# The race detector makes these ten times as slow and has a sample of them.
SAMPLED := ^(TestProduct|TestIdleConnectionOf.*|TestPairsDeliverEverythingOverABadWire|TestTransferUnderFaults|TestResponseFunctions|TestCleanLinkIsFull|TestCleanRoadIsFilled)$$

test: build ## every test, with the race detector, then short runs of the slow campaigns
	@scripts/deps.sh test
	CGO_ENABLED=1 $(GO) test -race -shuffle=on -count=1 -timeout=15m ./...
	$(GO) test -count=1 -timeout=10m -run='$(SAMPLED)' ./engine ./internal/model ./internal/sim
	$(GO) -C $(PEERS) test -shuffle=on -count=1 -timeout=10m ./...
	$(GO) -C $(BROWSER) test -count=1 -timeout=15m ./...
	$(GO) -C $(PEERS) run ./cmd/bench -quick -rawtcp $(CURDIR)/bin/rawtcp >/dev/null
	scripts/fuzz.sh 500x
	$(GO) test -run='^$$' -bench=. -benchtime=1x -short -timeout=10m $$(scripts/having.sh Benchmark)

soak: ## real programs through rawtcp over a terrible wire, some minutes
	@scripts/deps.sh test
	$(GO) test -count=1 -timeout=30m ./internal/e2e -run TestRealPrograms -v -args -soak

SEEDS ?= 50
bulk: ## 20 MiB each way against the kernel at 10 % loss; SEEDS=50 is how many
	@scripts/deps.sh test
	$(GO) test -count=1 -timeout=12h ./internal/e2e -run TestBulkOverATerribleWire -v -args -bulk $(SEEDS) -bulkoctets 20971520

check: $(LINT) ## format, vet, lint, import arrows, shell scripts, go.mod
	@scripts/deps.sh check
	scripts/check.sh $(LINT)

# A module of its own, so that its two hundred dependencies are nobody else's.
$(LINT): tools/go.mod tools/go.sum
	@echo 'building golangci-lint: some minutes, once' >&2
	$(GO) -C tools build -trimpath -o ../$@ github.com/golangci/golangci-lint/v2/cmd/golangci-lint

BENCH ?= -o $(CURDIR)/docs/benchmarks.md
bench: build ## speed as ratios against other stacks; writes docs/benchmarks.md, or BENCH='-only P7,P8'
	@scripts/deps.sh bench
	$(GO) -C $(PEERS) run ./cmd/bench -rawtcp $(CURDIR)/bin/rawtcp $(BENCH)

bench-ping: build ## ping against a capture, beside hping3, nping and scapy
	@scripts/deps.sh bench
	$(GO) run ./internal/e2e/pingbench/cmd/pingbench bin/rawtcp

bench-explain: build ## explain on a capture of 1 GiB, beside tshark
	@scripts/deps.sh bench
	$(GO) run ./internal/explain/cmd/bench bin/rawtcp

T ?= Fuzz
FROM ?= 1
D ?= 30s
fuzz: ## fuzz; T=FuzzParse picks targets, D=30s is the time for each
	scripts/fuzz.sh $(D) '$(T)'

sim: ## simulated networks, a seed each; D=30s is the time, SIM="-segments N -connections M" more
	$(GO) run ./internal/sim/cmd/sim -d $(D) $(SIM)

mutants: ## bring back known bugs, one at a time: which test notices? M=REGEXP picks some
	$(GO) run ./internal/mutants/cmd/mutants -only '$(M)'

differ: ## the same conversations with us, the kernel and gVisor; D=30s is the time for each, FROM the first seed
	$(GO) test -count=1 -timeout=24h ./internal/differ/kernel -v -args -differ $(D) -from $(FROM)
	$(GO) -C $(PEERS) test -count=1 -timeout=24h ./differ -v -args -differ $(D) -from $(FROM)

golden: ## every row of the probe against the kernel, slow ones too; RUNS=20 is how many times
	@scripts/deps.sh test
	$(GO) test -count=1 -timeout=24h ./internal/probe -parallel 128 -run 'TestGolden' -v -args -golden $(or $(RUNS),1)

probe-loss: ## every row of the probe on roads that lose 5 % each way; RUNS=50 is how many
	$(GO) test -count=1 -timeout=24h ./internal/probe -run 'TestLossIsNoFault' -v -args -losses $(or $(RUNS),50)

probe-targets: ## every quick row of the probe against other hosts, and the matrix of docs/probe.md; SLOW=-slowrows the slow ones too
	@scripts/deps.sh test
	$(GO) test -count=1 -timeout=2h -parallel 4 ./internal/probe -run 'TestTargets|TestListen|TestBrokenHosts|TestBoxes' -args -everyrow -record $(SLOW)
	$(GO) -C $(PEERS) test -count=1 -timeout=30m ./probe -args -all -record
	$(GO) test -count=1 ./internal/probe -run 'TestPage|TestAnswersAreThoseOfTheTables' -args -update

cover: ## test coverage: totals here, lines in bin/cover.html
	@mkdir -p bin
	$(GO) test -count=1 -timeout=10m -coverpkg=./... -coverprofile=bin/cover.out ./...
	@$(GO) tool cover -html=bin/cover.out -o bin/cover.html
	@$(GO) tool cover -func=bin/cover.out | tail -n 1

clean: ## remove what make made
	rm -rf bin
