# Zari. `make help` says what there is.

SHELL       = /bin/bash
.SHELLFLAGS = -o pipefail -c

GO     ?= go
PYTHON ?= python3

ADDRESS ?= 127.0.0.1:8100
DATA    ?= var/Data.fs

# Fixed versions of what is not in go.mod.
STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.8.2
VERSITYGW   = v1.8.0

# Where programs that only tests need are installed, once for all working copies.
ZARI_TOOLS ?= $(HOME)/.cache/zari/tools
export ZARI_TOOLS

# The packages whose work is concurrent: they are tested under the race detector too.
RACE = ./store/... ./zeo/... ./engine/filestorage/... ./engine/memstorage/... ./engine/s3storage/... ./engine/sqlstorage \
	./storagetest/... ./internal/...

# Of the SQL databases it is the concurrent tests: whole contracts, each test with a database of its own, take too long.
RACE_SQL       = ./engine/sqlstorage/sqlite ./engine/sqlstorage/postgres ./engine/sqlstorage/mysql
RACE_SQL_TESTS = Contract//^(threads|race|locks|order|peer|watch)$$|Lock|Bank|Lost|Close|Lease|Together|Settle

FUZZ_SECONDS ?= 60
JOBS         ?= 3

# A Python with ZODB and ZEO: one of our own, unless the environment names another.
ifeq ($(origin ZARI_PYTHON), undefined)
VENV = .venv/done
ZARI_PYTHON = $(CURDIR)/.venv/bin/python
endif
export ZARI_PYTHON
export PYTHONDONTWRITEBYTECODE = 1

UPSTREAM = $(ZARI_PYTHON) -u interop/upstream/run.py --jobs $(JOBS)

UPSTREAM_SQL = $(UPSTREAM) --server 'bin/zari serve -C {conf}' \
	$(foreach kind,sqlite postgresql mysql,--storage $(kind) --storage $(kind)-free)

SUMMARY = var/test-summary.txt

.PHONY: help build serve venv servers tools test lint unit race fuzz upstream upstream-runzeo upstream-sql upstream-sql-all upstream-s3 bench bench-sql bench-s3 proof realdata clean FORCE

help: ## say what there is
	@echo "Zari: a transactional object store for ZODB"
	@echo
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/  make \1|\2/p' Makefile | awk -F'|' '{printf "%-22s %s\n", $$1, $$2}'
	@echo
	@echo "  ADDRESS=$(ADDRESS)  DATA=$(DATA)  FUZZ_SECONDS=$(FUZZ_SECONDS)  JOBS=$(JOBS)"

build: bin/zari ## build bin/zari, one static binary

bin/zari: FORCE
	CGO_ENABLED=0 $(GO) build -trimpath -o $@ ./cmd/zari

serve: build ## serve var/Data.fs on 127.0.0.1:8100
	@mkdir -p $(dir $(DATA))
	@echo "Serving $(DATA) on $(ADDRESS). In Python (pip install ZEO):"
	@echo
	@echo "    import ZEO, transaction"
	@echo "    connection = ZEO.connection(('$(firstword $(subst :, ,$(ADDRESS)))', $(lastword $(subst :, ,$(ADDRESS)))))"
	@echo "    connection.root.greeting = 'hello'"
	@echo "    transaction.commit()"
	@echo
	@exec bin/zari serve -a $(ADDRESS) $(DATA)

venv: $(VENV) ## make .venv, a Python with the ZODB and ZEO that the tests need

.venv/done: interop/requirements.txt interop/venv.sh
	PYTHON=$(PYTHON) interop/venv.sh .venv

servers: ## install the database servers that the tests start themselves (Debian)
	@interop/servers.sh

tools: $(ZARI_TOOLS)/versitygw-$(VERSITYGW) ## install versitygw, the S3 server that tests use

$(ZARI_TOOLS)/versitygw-$(VERSITYGW):
	@mkdir -p $@.tmp
	GOBIN=$@.tmp GOFLAGS= CGO_ENABLED=0 $(GO) install -trimpath -ldflags='-s -w' github.com/versity/versitygw/cmd/versitygw@$(VERSITYGW)
	@mv $@.tmp/versitygw $@ && rmdir $@.tmp

test: $(VENV) servers tools build ## all that must pass: lint, unit, race, fuzz, upstream, upstream-sql
	@mkdir -p var && : > $(SUMMARY)
	@failed=0; for part in lint unit race fuzz upstream upstream-sql; do \
		begin=$$(date +%s); echo; echo "=== $$part"; \
		if $(MAKE) --no-print-directory $$part; then word=passed; else word=FAILED; failed=$$((failed + 1)); fi; \
		echo "$$word: $$part, $$(($$(date +%s) - begin)) s" >> $(SUMMARY); \
	done; \
	echo; echo "=== summary"; grep -v ^upstream: $(SUMMARY); grep ^upstream: $(SUMMARY); [ $$failed -eq 0 ]

lint: ## gofmt, vet, staticcheck
	@files=$$(gofmt -l .); [ -z "$$files" ] || { echo "not formatted:"; echo "$$files"; exit 1; }
	$(GO) vet ./...
	$(GO) run $(STATICCHECK) ./...

unit: $(VENV) servers tools ## go test ./..., the Go tests against Python included
	@mkdir -p var
	CGO_ENABLED=0 $(GO) test -timeout 20m ./... 2>&1 | tee var/unit.log; status=$$?; \
		grep -E '^(ok|FAIL|--- FAIL|panic:)' var/unit.log >> $(SUMMARY); exit $$status

race: $(VENV) servers tools ## the concurrent packages under the race detector (needs a C compiler)
	@command -v $${CC:-cc} >/dev/null || { echo "The race detector needs a C compiler: apt install gcc libc6-dev"; exit 1; }
	@mkdir -p var
	{ CGO_ENABLED=1 $(GO) test -race -short -timeout 20m $(RACE) && \
		CGO_ENABLED=1 $(GO) test -race -short -timeout 20m -run '$(RACE_SQL_TESTS)' $(RACE_SQL); } 2>&1 | tee var/race.log; status=$$?; \
		grep -E '^(ok|FAIL|--- FAIL|panic:)' var/race.log | sed 's/$$/ (race)/' >> $(SUMMARY); exit $$status

fuzz: ## every fuzz target for a little while
	GO=$(GO) tools/fuzz.sh $(FUZZ_SECONDS)

upstream: $(VENV) build ## ZEO's and ZODB's own test suites against bin/zari
	@mkdir -p var
	@$(UPSTREAM) --server 'bin/zari serve -C {conf}' --summary $(SUMMARY)

upstream-sql: $(VENV) servers build ## a choice of them over six SQL databases in place of the Data.fs
	@mkdir -p var
	@$(UPSTREAM_SQL) --list interop/upstream/tests-sql.txt --codec Z --summary $(SUMMARY)

upstream-sql-all: $(VENV) servers build ## all of them over SQL databases, both codecs (about an hour)
	@$(UPSTREAM_SQL)

upstream-s3: $(VENV) servers build ## all of them over a log of objects, and over one with PostgreSQL in front
	@$(UPSTREAM) --server 'bin/zari serve -C {conf}' --storage s3dir --storage s3front --codec Z

upstream-runzeo: $(VENV) ## the same against Python's own server: is the runner right?
	$(UPSTREAM) --server runzeo --exceptions interop/upstream/exceptions-runzeo.txt

bench: $(VENV) build ## Zari beside Python's runzeo: ratios
	$(GO) run ./bench/compare $(ARGS)

bench-sql: $(VENV) servers build ## Zari on PostgreSQL beside RelStorage
	$(GO) run ./bench/relstorage $(ARGS)

bench-s3: ## commits to a slow bucket, beside the requests of the toy of 2008
	$(GO) run ./bench/s3 $(ARGS)

proof: $(VENV) servers build ## the long proofs of docs/proofs.md, and fuzzing for an hour
	ZARI_ROUNDS=10000 $(GO) test -timeout 6h -v -run PowerLoss ./engine/filestorage/crashtest
	ZARI_OPS=10000000 $(GO) test -timeout 6h -v -run 'TestServer$$' ./interop/model
	CI=true ZARI_ROUNDS=200 ZARI_PACK_KILLS=50 $(GO) test -timeout 6h -v -run 'Kill9|Chain' ./interop
	CI=true ZARI_ROUNDS=1 $(GO) test -timeout 1h -v -run ContractOverPython ./interop
	ZARI_ROUNDS=2000 $(GO) test -timeout 6h -v -run Bank ./zeo/client
	CI=true ZARI_COPY_MB=200 ZARI_COPY_KILLS=100 $(GO) test -timeout 6h -v -run CopyKilled ./interop
	ZARI_MERGES=200000 $(GO) test -timeout 6h -v -run AsPython ./resolve
	CI=true ZARI_IMPORT_OBJECTS=5000000 ZARI_IMPORT_KILLS=20 $(GO) test -timeout 6h -v -run 'TestImport$$' ./interop
	ZARI_HISTORIES=100000 $(GO) test -timeout 24h -v -run 'Histories$$' ./resolve
	CI=true ZARI_SPLITS=150 $(GO) test -timeout 1h -v -run SplitsMerge ./interop
	CI=true ZARI_SECONDS=120 $(GO) test -timeout 2h -v -run 'Mixed|Failover' ./engine/sqlstorage/postgres
	CI=true ZARI_SECONDS=120 $(GO) test -timeout 2h -v -run 'MixedWriting|Failover' ./interop
	CI=true ZARI_ROUNDS=1 $(GO) test -timeout 1h -v -run 'TestContract/blob_files' ./engine/sqlstorage/postgres
	CI=true ZARI_S3_STEPS=1000000 $(GO) test -timeout 12h -v -run 'TestModel|BranchModel|PinAtEvery' ./engine/s3storage
	CI=true ZARI_COPY_MB=5000 $(GO) test -timeout 2h -v -run CopyS3 ./interop
	$(MAKE) upstream-sql-all upstream-s3
	$(MAKE) fuzz FUZZ_SECONDS=3600

realdata: $(VENV) ## databases of Plone, Zope and the Zope Toolkit, made from PyPI and read record by record
	PYTHON=$(PYTHON) interop/realdata/make.sh var/realdata
	ZARI_REALDATA=$(CURDIR)/var/realdata $(GO) test -count=1 -v -timeout 1h -run RealData ./interop

clean: ## remove what was built; data in var/ stays
	rm -rf bin .venv dist $(SUMMARY)
