# Every target is one command; `make` alone lists them. A step of `make test`
# is a target of its own, so that what failed there can be run again alone.
#
# Nothing here needs the network but Debian's packages and Go modules, and
# `make setup` fetches both.

export PATH := $(PATH):/usr/local/go/bin:/usr/sbin:/sbin
export GOFLAGS ?= -buildvcs=false
export DEMO_SECONDS DEMO_FAULT KILL_SEED CUTS CUT_SEED DAVY_TEST_SCALE

GO      ?= go
BIN     := .cache/bin
GOTEST  := $(BIN)/gotest
STRIP   := -trimpath -ldflags "-s -w"

STATICCHECK := $(BIN)/staticcheck-v0.8.2
GOFUMPT     := $(BIN)/gofumpt-v0.12.0

# Packages: what is quick, those first that take longest; and of that what has
# more than one goroutine. Of the units SIDE run at once: most of the longest wait
# for devices that say nothing; not under qemu, where they compute.
LONG       = ./test/device ./test/opcua ./drivers/modbus ./drivers/opcua/worker ./test/scripts ./cmd/davy-plant/opcua ./test/bench/opcuabench
QUICK      = $(LONG) $$($(GO) list ./... | grep -vE '^davy/test/(e2e|crash|gpio|powercut)(/|$$)')
# Under qemu there is no need of what reads sources, drives the toolchain or sets up figures: it is the same on every architecture.
NOTARM     = ^(davy|\.)/test/(arch|mutants|tool|bench/(opcua|modbus|line)bench)(/|$$)
CONCURRENT = $$(grep -rlE --include='*.go' '^[[:space:]]*(go (func|[a-z])|"sync)' agent drivers rules cmd | xargs -r -n1 dirname | sort -u | sed 's,^,./,') ./test/days
SOURCES    = $$(find . -name '*.go' -not -path './.*' -not -path '*/testdata/*' -not -name '*.pb.go')

SIDE     ?= 3
FUZZTIME ?= 30s
CMDS     ?= davy davy-receiver davy-plant
ARCHS    ?= armv6 armv7 arm64 amd64
ARMSCALE ?= 0.05
LIMIT    ?= 10m

.PHONY: help demo test check soak race fuzz fuzz-bug bench cross \
	setup format fmt vet lint again scripts units arm stories mutants campaign simulate e2e kill powercut demo-fault chroot

help: ## this list
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## (.*)/\1\t\2/' | \
		awk -F '\t' '{printf "  make %-11s %s\n", $$1, $$2}'

demo: ## a bench plant, Davy and a receiver play a bad day (DEMO_SECONDS=30, DEMO_FAULT=drop-one, LANG=zh_CN.UTF-8)
	@mkdir -p $(BIN) && $(GO) build -o $(BIN)/demo.$$$$ ./test/demo && mv $(BIN)/demo.$$$$ $(BIN)/demo && exec $(BIN)/demo

test: ## everything that CI runs, on a bare Debian with Go; a skipped test is a failed test
	@.ci/steps setup format vet lint units stories arm race "fuzz FUZZTIME=2000x" "fuzz-bug & mutants" e2e powercut \
		"kill & demo DEMO_SECONDS=30 & demo-fault DEMO_SECONDS=30" "cross CMDS=davy ARCHS=armv7"

check: ## about a minute: format, vet, lint, units (with the house rules and the scripts), stories
	@.ci/steps format vet lint again scripts stories

soak: ## everything long (hours): full race, unscaled arm, long fuzzing, kill runs, figures
	@.ci/steps setup format vet lint "units DAVY_TEST_SCALE=10" stories "arm ARMSCALE=1 LIMIT=3h" "race DAVY_TEST_SCALE=1 LIMIT=2h" "campaign DAVY_TEST_SCALE=24" simulate e2e \
		"fuzz FUZZTIME=5m" fuzz-bug mutants kill kill kill "powercut CUTS=200" "demo DEMO_SECONDS=300" "demo-fault DEMO_SECONDS=30" bench cross

race: $(GOTEST) ## the concurrent packages under the race detector
	@DAVY_TEST_SCALE=$${DAVY_TEST_SCALE:-0.2} CGO_ENABLED=1 $(GOTEST) -- -race -timeout $(LIMIT) $(CONCURRENT)

fuzz: ## every fuzz target (below UNDER) for FUZZTIME each (30s)
	@.ci/fuzz $(FUZZTIME) $(UNDER)

fuzz-bug: ## a decoder with a bug put in must be found out by its fuzz target within a minute
	@.ci/fuzz-bug

bench: ## the figures with their limits; exit 1 when one is passed
	@$(GO) run ./test/bench $(if $(ONLY),-only $(ONLY))

cross: ## the programs for linux arm v6, v7, arm64 and amd64 into bin/, with the size of each (CMDS, ARCHS)
	@mkdir -p bin
	@set -e; for arch in $(ARCHS); do \
		case $$arch in armv6) env="GOARCH=arm GOARM=6";; armv7) env="GOARCH=arm GOARM=7";; *) env="GOARCH=$$arch";; esac; \
		for cmd in $(CMDS); do \
			out=bin/$$cmd-linux-$$arch; \
			env GOOS=linux CGO_ENABLED=0 $$env $(GO) build $(STRIP) -o $$out ./cmd/$$cmd; \
			stat -c %s $$out | awk -v out=$$out '{printf "%-32s %7.2f MB\n", out, $$1 / 1e6}'; \
		done; \
	done

setup: ## what the tests need: Debian packages (as root or through sudo), Go modules, tools; only what is missing
	@.ci/setup
	@test/e2e/sparkplug/setup.sh >/dev/null
	@test/gpio/kernel.sh .cache/gpio
	@$(GO) mod download
	@$(MAKE) -s $(GOTEST) $(STATICCHECK) $(GOFUMPT)

format: $(GOFUMPT) ## every file as gofumpt writes it?
	@bad=$$($(GOFUMPT) -l $(SOURCES)); if [ -n "$$bad" ]; then echo "not formatted (make fmt):"; echo "$$bad"; exit 1; fi

fmt: $(GOFUMPT) ## write every file as gofumpt does
	@$(GOFUMPT) -l -w $(SOURCES)

vet: ## go vet, also as 32-bit ARM sees it
	@$(GO) vet ./...
	@GOARCH=arm GOARM=7 CGO_ENABLED=0 $(GO) vet ./...

lint: $(STATICCHECK) ## staticcheck with staticcheck.conf
	@$(STATICCHECK) ./...

again: $(GOTEST) ## the units of what changed since they last passed
	@$(GOTEST) -cached -- $$($(GO) list ./... | grep -vE '^davy/test/(e2e|crash|gpio|powercut|scripts)(/|$$)')

scripts: $(GOTEST) ## the command line as a person uses it
	@$(GOTEST) -- ./test/scripts

units: $(GOTEST) ## all tests but end to end
	@$(GOTEST) -- -p $(SIDE) $(QUICK)

arm: $(GOTEST) ## the same as GOARCH=arm under qemu-user; counts scaled by ARMSCALE (0.05)
	@DAVY_TEST_SCALE=$(ARMSCALE) GOARCH=arm GOARM=7 CGO_ENABLED=0 .ci/arm $(GOTEST) -- -timeout $(LIMIT) $$(printf '%s\n' $(QUICK) | grep -vE '$(NOTARM)')

stories: ## the stories of every plant in firmware-configs/plants, by the program itself
	@$(GO) build -o $(BIN)/davy ./cmd/davy
	@set -e; for site in firmware-configs/plants/*/; do $(BIN)/davy test $$site; done

e2e: $(GOTEST) ## the real programs, sockets and broker, servers that nobody here wrote, a kernel's GPIO lines
	@$(GOTEST) -each -- -p 2 -parallel 4 -timeout 20m ./test/e2e/opcua ./test/e2e/... ./test/gpio

campaign: $(GOTEST) ## an hour of two serial lines with late answers (DAVY_TEST_SCALE hours), and the bare library on the same
	@$(GOTEST) -each -say campaign -- -v -timeout 60m ./test/line

simulate: $(GOTEST) ## a year of the cold store by the engine alone, three days of the whole agent, with seeded faults (an hour)
	@DAVY_TEST_SCALE=365 $(GOTEST) -each -say year: -- -v -timeout 2h -run TestYear ./test/year
	@DAVY_TEST_SCALE=20 $(GOTEST) -each -- -timeout 2h -run TestVaried ./test/year
	@DAVY_TEST_SCALE=432 $(GOTEST) -each -say days: -- -v -timeout 3h ./test/days

kill: $(GOTEST) ## decider, keeper, receiver and broker killed at seeded moments (KILL_SEED to repeat a run)
	@$(GOTEST) -each -say kills= -- -timeout 60m ./test/crash/...

powercut: $(GOTEST) ## the power of a machine cut within commits, rolls, retention and cursor moves (CUTS=10, CUT_SEED to repeat a run)
	@$(GOTEST) -each -say cuts= -- -timeout 5h ./test/powercut

mutants: ## ten defects put into the engine, one after another: the tests must catch each
	@$(GO) run ./test/mutants

demo-fault: ## a receiver that silently drops one event must make the demo fail
	@.ci/demo-fault

chroot: ## `make test` of HEAD on a Debian that has never seen this project (root, debootstrap)
	@test/chroot/run.sh

# Tools, at exact versions, into a folder that git ignores.
$(STATICCHECK):
	@.ci/tool $@ honnef.co/go/tools/cmd/staticcheck
$(GOFUMPT):
	@.ci/tool $@ mvdan.cc/gofumpt
$(GOTEST): $(wildcard test/tool/gotest/*.go)
	@mkdir -p $(BIN) && $(GO) build -o $@ ./test/tool/gotest
