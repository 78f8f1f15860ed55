# Everything that is done with this repository. `make help` lists it.

# The server that the module is for, its source tree, and its modules where they are not in the folder that it says. All three count for
# everything below.
KAMAILIO ?= kamailio
export KAMAILIO
CARGO ?= cargo
TARGET = $(or $(CARGO_TARGET_DIR),target)

# Where the module goes: a folder of its own, put before the stock one in mpath.
MODULES ?= $(PREFIX)/lib/kamailio/dispatcher-rs
# Where the program goes, with its completions and manual page.
PREFIX ?= /usr/local
FOR_BASH = share/bash-completion/completions/dispatcher-check
FOR_ZSH = share/zsh/site-functions/_dispatcher-check
FOR_MAN = share/man/man1/dispatcher-check.1 share/man/man7/kamailio-dispatcher-rs.7

PACKAGES = kamailio kamailio-extra-modules kamailio-lua-modules kamailio-python3-modules sip-tester \
    clang libclang-dev gcc g++ libc6-dev make dpkg-dev patch
# The servers that the tests start beside Kamailio, each with its own data folder, what it needs to talk to them, and a browser.
SERVERS = kamailio-sqlite-modules kamailio-mysql-modules kamailio-postgres-modules kamailio-tls-modules \
    kamailio-websocket-modules \
    sqlite3 mariadb-server mariadb-client postgresql prometheus openssl \
    chromium fonts-dejavu-core curl
# What packages are made with, beside cargo-deb, which is installed into target/tools.
PACKAGING = lowdown binutils lintian file

.PHONY: help deps servers headers build check unit model fork loom sanitize fuzzcheck fuzz it it-long storm screenshots flows test demo bench simulate matrix docs deb deb-test start-test tarball install uninstall clean
.DEFAULT_GOAL := help

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

deps: ## install what is needed through apt-get (the first time only)
	@sh kamailio-headers/deps.sh $(PACKAGES)

servers: deps ## install the databases, the Prometheus and the browser that the tests start
	@sh kamailio-headers/deps.sh $(SERVERS)

headers: deps ## fetch the source of the installed Kamailio, unless KAMAILIO_SRC= names one
	@[ -n "$(KAMAILIO_SRC)" ] || kamailio-headers/fetch.sh >/dev/null

build: headers ## build/dispatcher.so, the loadable module, and the program dispatcher-check
	$(CARGO) build --release --locked --lib --bins
	@mkdir -p build
	@cp $(TARGET)/release/libdispatcher.so build/dispatcher.so.new && mv build/dispatcher.so.new build/dispatcher.so
	@cp $(TARGET)/release/dispatcher-check build/dispatcher-check.new && mv build/dispatcher-check.new build/dispatcher-check
	@echo "build/dispatcher.so is for $$($(KAMAILIO) -v | sed -n 's/^version: //p')"

check: headers ## format and clippy, warnings denied
	$(CARGO) fmt --check
	$(CARGO) fmt --check --manifest-path fuzz/Cargo.toml
	$(CARGO) clippy --locked --all-targets -- -D warnings
	$(CARGO) clippy --locked --manifest-path fuzz/Cargo.toml --target-dir $(TARGET) -- -D warnings

unit: headers ## tests without a server
	$(CARGO) test --locked --lib --bins --test structure --test states --test host --test check --test reference

model: fork loom ## lock-free pieces under the model checker, shared types in forked processes

fork: headers
	$(CARGO) test --locked --test fork

loom: headers
	RUSTFLAGS="--cfg loom" LOOM_MAX_PREEMPTIONS=3 $(CARGO) test --profile model --locked --test loom --target-dir $(TARGET)/loom

sanitize: headers ## unit and fork tests under AddressSanitizer, where the toolchain has it
	@if ls $$(rustc --print sysroot)/lib/rustlib/*/lib/librustc*_rt.asan.a >/dev/null 2>&1; then \
	    RUSTC_BOOTSTRAP=1 RUSTFLAGS=-Zsanitizer=address CARGO_PROFILE_DEV_OPT_LEVEL=1 $(CARGO) test --locked --lib --test fork \
	        --target $$(rustc -vV | sed -n 's/^host: //p') --target-dir $(TARGET)/asan; \
	else echo 'sanitize: this Rust toolchain has no AddressSanitizer runtime; without it:'; $(CARGO) test --locked --test fork; fi

# libFuzzer counts edges and comparisons in the code of the module; all of this the stable compiler can do.
FUZZ_HOST = $$(rustc -vV | sed -n 's/^host: //p')
FUZZ_FLAGS = -Cpasses=sancov-module $(addprefix -Cllvm-args=-sanitizer-coverage-,level=4 inline-8bit-counters pc-table \
    trace-compares)
FUZZ_TARGETS = $(basename $(notdir $(wildcard fuzz/fuzz_targets/*.rs)))
FUZZ_SECONDS ?= 600
FUZZ_BUILD = RUSTFLAGS="$(FUZZ_FLAGS)" $(CARGO) build --release --locked --manifest-path fuzz/Cargo.toml --target $(FUZZ_HOST) \
    --target-dir $(TARGET)

fuzzcheck: headers ## each fuzz target from its seeds, the same short way each time
	$(FUZZ_BUILD)
	@for target in $(FUZZ_TARGETS); do \
	    new=$(TARGET)/fuzzcheck/$$target; rm -rf $$new; mkdir -p $$new fuzz/artifacts; \
	    $(TARGET)/$(FUZZ_HOST)/release/$$target -seed=1 -runs=100000 -max_len=2048 -timeout=10 \
	        -artifact_prefix=fuzz/artifacts/$$target- $$new fuzz/seeds/$$target >$$new.log 2>&1 || \
	        { tail -50 $$new.log; echo "fuzzcheck: $$target has a finding"; exit 1; }; \
	    echo "fuzzcheck: $$target: $$(tail -1 $$new.log)"; \
	done

fuzz: headers ## each fuzz target for FUZZ_SECONDS (600); what it finds stays in fuzz/corpus, faults in fuzz/artifacts
	$(FUZZ_BUILD)
	@for target in $(FUZZ_TARGETS); do \
	    mkdir -p fuzz/corpus/$$target fuzz/artifacts; \
	    $(TARGET)/$(FUZZ_HOST)/release/$$target -max_total_time=$(FUZZ_SECONDS) -timeout=10 -print_final_stats=1 \
	        -artifact_prefix=fuzz/artifacts/$$target- fuzz/corpus/$$target fuzz/seeds/$$target || exit 1; \
	done

it: build servers ## tests on a real Kamailio
	CARGO=$(CARGO) tests/it.sh --skip ::long_

it-long: build servers ## the tests of call load in the ways that `make it` leaves out: one worker, over TCP, Lua, Python, counted twice
	CARGO=$(CARGO) tests/it.sh ::long_

STORM_SECONDS ?= 60

storm: build servers ## calls of all fates, and those of each example with a crash of a gateway in them, for STORM_SECONDS (60) each
	STORM_SECONDS=$(STORM_SECONDS) $(CARGO) test --release --locked --test it -- storm --nocapture --test-threads=1

screenshots: build servers ## docs/images/status-*.png, made by the test of the status page
	SCREENSHOTS=docs/images $(CARGO) test --release --locked --test it -- status_browser::three_thirty

flows: build servers ## docs/images/flow-*.svg, recorded from the wire by the tests
	FLOWS=docs/images $(CARGO) test --release --locked --test it -- flows::

# The forked processes run under AddressSanitizer here, and are not run a second time without it.
test: check unit loom sanitize fuzzcheck it ## all of the above, but the long fuzzing, the long storms and it-long

demo: build ## the main job, live: three gateways, calls of mixed fate, even load
	$(CARGO) run --release --locked --example demo

bench: build ## what selections, calls and changes cost, beside the stock module; writes docs/benchmarks.md. ONLY= for some groups, or `list`
	$(CARGO) bench --locked --bench bench -- $(ONLY)

simulate: headers ## the module's own code beside other rules, with modelled gateways; writes docs/balance.md
	$(CARGO) bench --locked --bench simulate

# README, docs/ and examples/ as one book, so that links between them hold; mdbook is installed into target/tools.
MDBOOK = 0.4.52# the last that Rust 1.85 compiles
BOOK = $(TARGET)/book-source

docs: ## the manual as HTML, in target/book
	@[ "$$($(TARGET)/tools/bin/mdbook --version 2>/dev/null)" = "mdbook v$(MDBOOK)" ] || \
	    $(CARGO) install --quiet --debug --locked --root $(TARGET)/tools --target-dir $(TARGET)/tools/build --version $(MDBOOK) \
	        --no-default-features --features search mdbook
	@rm -rf $(TARGET)/tools/build $(BOOK) $(TARGET)/book
	@mkdir -p $(BOOK)
	@cp -r docs examples kamailio.cfg.example *.md docs/book.toml $(BOOK)/
	@sed 's|](|](docs/|; s|](docs/\.\./|](|' docs/SUMMARY.md >$(BOOK)/SUMMARY.md
	@rm -f $(BOOK)/docs/SUMMARY.md $(BOOK)/docs/book.toml
	@sed -i 's|(docs/SUMMARY.md)|(docs/start.md)|' $(BOOK)/*.md
	$(TARGET)/tools/bin/mdbook build $(BOOK) --dest-dir $(abspath $(TARGET)/book)
	@for folder in . examples; do cp $(TARGET)/book/$$folder/index.html $(TARGET)/book/$$folder/README.html; done # links name it so
	@echo "$(TARGET)/book/index.html"

# Each release in a folder of its own, made with debootstrap; nothing of this machine is changed.
matrix: ## build and test in each Debian release with its own Kamailio, or in RELEASE= only; STAGES= for some columns
	packaging/matrix.sh $(RELEASE)

deb: build ## target/package/*.deb for the installed Kamailio, with cargo-deb
	@sh kamailio-headers/deps.sh $(PACKAGING)
	packaging/package.sh deb

deb-test: deb tarball ## install, use, upgrade and remove both in a folder with a fresh Debian
	lintian --allow-root --fail-on error target/package/*.deb
	$(CARGO) build --release --locked --example demo
	packaging/deb-test.sh

start-test: ## follow docs/start.md word by word on a fresh Debian 12 and 13, or on RELEASE= only, and place calls
	packaging/start-test.sh $(RELEASE)

tarball: build ## target/package/*.tar.gz with install.sh, for a server that is not from a package
	@sh kamailio-headers/deps.sh lowdown binutils
	packaging/package.sh tarball

# Builds only what is not built yet: under sudo there may be no cargo. The manual pages need lowdown, which `make deb` installs.
install: $(if $(shell find src kamailio-headers/*.rs build.rs Cargo.toml Cargo.lock -newer build/dispatcher.so 2>&1 | head -1)$(if $(wildcard build/dispatcher-check),,none),build) ## copy the module to MODULES= (/usr/local/lib/kamailio/dispatcher-rs), dispatcher-check to PREFIX= (/usr/local)
	install -d $(DESTDIR)$(MODULES)
	install -m 644 build/dispatcher.so $(DESTDIR)$(MODULES)/dispatcher.so
	install -D -m 755 build/dispatcher-check $(DESTDIR)$(PREFIX)/bin/dispatcher-check
	build/dispatcher-check --completions bash | install -D -m 644 /dev/stdin $(DESTDIR)$(PREFIX)/$(FOR_BASH)
	build/dispatcher-check --completions zsh | install -D -m 644 /dev/stdin $(DESTDIR)$(PREFIX)/$(FOR_ZSH)
	@if command -v lowdown >/dev/null; then \
	    packaging/package.sh manuals $(MODULES) && for page in $(FOR_MAN); do \
	        install -D -m 644 $(TARGET)/package/manuals/$${page##*/} $(DESTDIR)$(PREFIX)/$$page || exit 1; \
	    done; \
	else echo "no manual pages: lowdown is not there to make them"; fi
	@stock=$(or $(KAMAILIO_MODULES),$$($(KAMAILIO) -I | sed -n 's/.*paths to modules: //p')); \
	echo "In kamailio.cfg, before loadmodule \"dispatcher.so\":"; \
	echo "    mpath=\"$(MODULES)/:$$stock/\""

uninstall: ## take it away again
	rm -f $(DESTDIR)$(MODULES)/dispatcher.so
	-rmdir $(DESTDIR)$(MODULES) 2>/dev/null
	rm -f $(addprefix $(DESTDIR)$(PREFIX)/,bin/dispatcher-check $(FOR_BASH) $(FOR_ZSH) $(FOR_MAN))

clean: ## remove what was built (fetched headers stay)
	$(CARGO) clean
	rm -rf build
