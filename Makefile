# The first command on a fresh machine is `make demo` or `make test`: both do all set-up themselves.

GO       ?= go
VERSION  ?= $(shell git describe --tags --dirty --match 'v*' 2>/dev/null || echo devel)
COMMIT   ?= $(shell git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)
LDFLAGS   = -s -w -X main.version=$(VERSION) -X main.commit=$(COMMIT)
LINT      = $(GO) run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
FUZZTIME ?= 20s
SOAK     ?= 30m

# A source tree without its git metadata builds as well.
export GOFLAGS := -buildvcs=false $(filter-out -buildvcs=%,$(GOFLAGS))

.PHONY: all build check test test-units test-whole lint vet vulncheck fuzz soak bench reliability demo release release-tools setup clean

all: build

build: ## one static binary: bin/fairlead
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/fairlead ./cmd/fairlead

check: vet lint ## what each commit must pass, in a minute or two
	$(GO) test -short ./...

test: setup test-units test-whole ## everything, with the race detector, real containers and faults

# The tests of the whole program want the machine for themselves, so they come after those of the packages.
test-units:
	CGO_ENABLED=1 $(GO) test -race -timeout 10m $$($(GO) list ./... | grep -v '/fairlead/test$$')

test-whole:
	CGO_ENABLED=1 $(GO) test -race -count=1 -timeout 15m ./test

setup: ## what the tests need beside Go: a C compiler for the race detector, a Docker engine
	./test/setup.sh

vet:
	$(GO) vet ./...
	$(GO) vet -tags docs ./cmd/fairlead
	cd test/otelrecv && $(GO) vet ./...

lint:
	$(LINT) run

vulncheck: ## known vulnerabilities in what is called; asks vuln.go.dev
	$(GO) run golang.org/x/vuln/cmd/govulncheck@v1.1.4 ./...

release: ## packages, images, binaries for amd64 and arm64 in dist, all from the module cache: no network
	GOPROXY=file://$$($(GO) env GOMODCACHE)/cache/download GOSUMDB=off $(GO) run ./packaging/release -out dist

release-tools: ## fetches what `make release` needs into the module cache
	$(GO) mod download
	GOFLAGS=-mod=mod $(GO) run $$(sed -n 's/^const nfpm = "\(.*\)"/\1/p' packaging/release/main.go) --version >/dev/null

fuzz: ## every fuzz target for FUZZTIME
	@set -e; for p in $$(grep -rl --include='*_test.go' '^func Fuzz' . | xargs -n1 dirname | sort -u); do \
		for f in $$(grep -ho '^func Fuzz[A-Za-z0-9_]*' $$p/*_test.go | cut -c6-); do \
			echo "== $$p $$f"; $(GO) test -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) $$p; done; done

soak: setup ## 1,000 random histories in virtual time, no false alarm for SOAK, random faults against the spool for a tenth of SOAK, hostile user data and ecs.config for SOAK each, the clean-up's law on a million hosts, the whole program for SOAK, an instance taken away 100 times, and 3,000 times in virtual time
	CGO_ENABLED=1 FAIRLEAD_SOAK=$(SOAK) $(GO) test -race -count=1 -timeout 24h -v -run 'Histories' ./forwarder
	FAIRLEAD_SOAK=$(SOAK) $(GO) test -count=1 -timeout 1h -v -run 'TestFleet' ./forwarder/fluent
	FAIRLEAD_SOAK=$(SOAK) $(GO) test -count=1 -timeout 24h -v -run 'TestHistories$$' ./forwarder/spool
	$(GO) test -run '^$$' -fuzz '^FuzzRead$$' -fuzztime $(SOAK) -fuzzminimizetime 5s ./agent/userdata
	$(GO) test -run '^$$' -fuzz '^FuzzMake$$' -fuzztime $(SOAK) -fuzzminimizetime 5s ./agent/ecsconfig
	FAIRLEAD_SOAK=$(SOAK) $(GO) test -count=1 -timeout 24h -v -run 'TestFaults$$' ./test/prometheus
	FAIRLEAD_SOAK=$(SOAK) $(GO) test -count=1 -timeout 24h -v -run 'TestLaw|TestSchedules|TestManyVolumes' ./cleanup/...
	CGO_ENABLED=1 FAIRLEAD_SOAK=$(SOAK) $(GO) test -race -count=1 -timeout 24h -v ./test
	FAIRLEAD_SOAK=$(SOAK) $(GO) test -count=1 -timeout 1h -run 'TestSchedules$$' ./agent/drain
	FAIRLEAD_SOAK=$(SOAK) $(GO) test -count=1 -parallel 2 -timeout 24h -v ./test/scalein

bench: build ## throughput, memory, cost and delay of the program; then the packages' own benchmarks
	$(GO) run ./test/bench
	$(GO) test -run '^$$' -bench . -benchmem ./...

reliability: build ## every scenario of the fault laboratory, beside Docker's own driver; writes docs/reliability.md
	-./test/setup.sh
	$(GO) run ./test/reliability -write docs/reliability.md

demo: build ## the whole path on this machine, nothing needed
	./bin/fairlead demo

clean:
	rm -rf bin dist
