# make help lists the targets. What is built is left in build/.

SHELL = /bin/bash
.SHELLFLAGS = -e -o pipefail -c
.DEFAULT_GOAL = help
.DELETE_ON_ERROR:

CARGO = cargo
BUILD = build
TARGET = $(or $(CARGO_TARGET_DIR),target)
RELEASE = $(TARGET)/release

LIBRARY = $(BUILD)/libnegotiate_auth.so.1
ARCHIVE = $(BUILD)/libnegotiate_auth.a
TOOL = $(BUILD)/negotiate-auth
NGINX_MODULE = $(BUILD)/ngx_http_auth_negotiate_module.so
HTTPD_MODULE = $(BUILD)/mod_auth_negotiate.so

# Copies only what differs, so that nothing is linked again without need.
keep = cmp --silent $(1) $(2) || cp --remove-destination $(1) $(2)

.PHONY: help build demo test soak check bench header clean rust

help: ## this list
	@awk -F ':[^#]*## ' '/^[a-z]+:.*## / { printf "  make %-7s %s\n", $$1, $$2 }' Makefile

build: ## the two modules, the library and the tool, in build/
	@tests/setup build
	@$(MAKE) --no-print-directory $(NGINX_MODULE) $(HTTPD_MODULE)
	@printf '%s:\n' "$(abspath $(BUILD))"
	@cd $(BUILD); ls -1 $(notdir $(NGINX_MODULE) $(HTTPD_MODULE) $(LIBRARY) $(ARCHIVE) $(TOOL)) | sed 's/^/  /'

demo: ## nginx and httpd with demo users on 127.0.0.1, until Ctrl-C
	@tests/setup demo
	@$(MAKE) --no-print-directory build
	@exec demo/run

test: ## every suite, with its time
	@tests/setup test
	@$(MAKE) --no-print-directory build
	@exec tests/run

soak: ## the long forms: many rounds, many reloads, valgrind, fuzzing
	@tests/setup test
	@$(MAKE) --no-print-directory build
	@NEGOTIATE_SOAK=1 $(BUILD)/venv/bin/python -m pytest tests/e2e
	@fuzz/run -t 60

check: ## format, lints, drift of the header and of what is exported
	@tests/setup check
	$(CARGO) fmt --check
	$(CARGO) clippy --quiet --all-targets --all-features -- -D warnings
	@$(MAKE) --no-print-directory rust
	$(CARGO) test --quiet --test header

bench: ## instruction counts and times
	@tests/setup bench
	@$(MAKE) --no-print-directory build
	@exec tests/bench

header: ## write the header and the tables of the documents anew from the source
	NEGOTIATE_AUTH_WRITE_HEADER=1 $(CARGO) test --quiet --test header --test readme

clean: ## remove build/ and target/
	$(CARGO) clean
	rm -rf $(BUILD)

# Cargo knows what changed. The library is built for C alone: cargo leaves link
# time optimization out of a library that is also for Rust. The tool, with its
# own features, has a folder of its own: in one the two would undo each other.
rust:
	@mkdir -p $(BUILD)
	@$(CARGO) rustc --quiet --release --lib --crate-type staticlib,cdylib
	@$(call keep,$(RELEASE)/libnegotiate_auth.so,$(LIBRARY))
	@$(call keep,$(RELEASE)/libnegotiate_auth.a,$(ARCHIVE))
	@$(CARGO) build --quiet --release --features cli --bin negotiate-auth --target-dir $(TARGET)/tool
	@$(call keep,$(TARGET)/tool/release/negotiate-auth,$(TOOL))
	@ln -sf $(notdir $(LIBRARY)) $(BUILD)/libnegotiate_auth.so

$(ARCHIVE): rust ;

# A module is built for one version of its server: dpkg's list is as old as that.
$(NGINX_MODULE): $(ARCHIVE) $(wildcard ngx_module/* include/*.h /var/lib/dpkg/info/nginx.list)
	@ngx_module/build $(BUILD) $(ARCHIVE)

$(HTTPD_MODULE): $(ARCHIVE) $(wildcard apache_module/* include/*.h /var/lib/dpkg/info/apache2-bin.list)
	@apache_module/build $(BUILD) $(ARCHIVE)
