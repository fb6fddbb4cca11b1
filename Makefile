# Everything here needs Go alone. Two things widen what `make test` covers, and it says when they are missing:
# redis-server in PATH (tests on a real Redis) and a python3 with pyarrow and duckdb (Parquet read by others).

GO       ?= go
FUZZTIME ?= 30s
RECORDS  ?= 100000
FAULTS   ?= 100
SECONDS  ?= 40
VERSION  := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
# The race detector needs a C compiler; go env CGO_ENABLED is 0 where there is none.
RACE     := $(if $(filter 1,$(shell $(GO) env CGO_ENABLED)),-race)

.DEFAULT_GOAL := help
.PHONY: help test lint build bench bench-limits chaos fuzz cover clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

test: bin/testreport ## all tests with -race; ends with what was skipped and why
	@[ -n "$(RACE)" ] || echo "note: no C compiler, so the tests run without the race detector; install gcc for it"
	@command -v redis-server >/dev/null || echo "note: redis-server is not in PATH, so tests on a real Redis will skip; \
	install it from your distribution's packages (redis-server or redis)"
	$(GO) -C tools test ./testreport
	cd tools/deploycheck && ../../bin/testreport ./...
	bin/testreport $(RACE) -timeout 10m ./...

bin/testreport: tools/testreport/main.go tools/testreport/report.go
	@$(GO) -C tools build -o ../bin/testreport ./testreport

lint: ## go vet and golangci-lint, pinned in tools/go.mod (its first build takes minutes)
	$(GO) vet ./...
	$(GO) tool -modfile=tools/go.mod golangci-lint run ./...
	$(GO) -C tools tool golangci-lint run --config ../.golangci.yml ./...
	cd tools/deploycheck && $(GO) tool -modfile=../go.mod golangci-lint run --config ../../.golangci.yml ./...

build: ## bin/batchwright, static, with the version from git
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w -X main.linkedVersion=$(VERSION)' -o bin/batchwright ./cmd/batchwright

bench: build ## speed and memory against the stated goals, as a table (about a quarter of an hour)
	$(GO) run ./bench -binary bin/batchwright

bench-limits: build ## use of limits that nobody names, and the peers, as tables (about an hour and a half; LIMITS='-scenario REGEXP' for a part)
	$(GO) run ./bench limits -binary bin/batchwright $(LIMITS)

chaos: ## a fleet through FAULTS faults on RECORDS records, by SEED, each for SECONDS at most; ends with the table of what was survived
	CHAOS_RECORDS=$(RECORDS) CHAOS_FAULTS=$(FAULTS) CHAOS_SEED=$(or $(SEED),$(shell date +%s)) CHAOS_SECONDS=$(SECONDS) CHAOS_TRIES=10 \
		$(GO) test -count 1 -timeout 0 -v -run '^Test(Chaos|Recovery)$$' ./bench/chaos

# At the end of FUZZTIME go test can take its own deadline for a failure, without an input that failed (golang/go#75804).
fuzz: ## each fuzz target for FUZZTIME (30s)
	@mkdir -p bin
	@grep -rHo --include='*_test.go' '^func Fuzz[A-Za-z0-9_]*' . | sort -u | while IFS=: read -r file target; do \
		target=$${target#func }; folder=$$(dirname $$file); echo "$$folder $$target"; \
		$(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 1x $$folder </dev/null >bin/fuzz.log 2>&1; \
		code=$$?; cat bin/fuzz.log; \
		if [ $$code -ne 0 ] && { grep -q 'Failing input written' bin/fuzz.log || ! grep -q '^ *context deadline exceeded$$' bin/fuzz.log; }; then exit 1; fi; \
	done

cover: ## test coverage: total on the terminal, lines in cover.out (go tool cover -html=cover.out)
	$(GO) test -coverpkg=./... -coverprofile=cover.out ./...
	$(GO) tool cover -func=cover.out | tail -n 1

clean: ## remove what the other targets made
	rm -rf bin cover.out
