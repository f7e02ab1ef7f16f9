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
NATIVE_LIBS = $(BUILD)/native-static-libs
TOOL = $(BUILD)/negotiate-auth
NGINX_MODULE = $(BUILD)/ngx_http_auth_negotiate_module.so
HTTPD_MODULE = $(BUILD)/mod_auth_negotiate.so

# For tests only: modules that know accounts which take their time.
SLOW = $(BUILD)/slow
SLOW_ARCHIVE = $(SLOW)/libnegotiate_auth.a
SLOW_MODULES = $(SLOW)/ngx_http_auth_negotiate_module.so $(SLOW)/mod_auth_negotiate.so

# For tests only: the newest nginx, and the modules for it.
NEWEST = $(BUILD)/nginx-$(shell sed -n '/^name = "nginx-src"/{n;s/.*+\(.*\)"/\1/p}' tests/nginx/Cargo.lock)
NEWEST_BUILDS = full bare asan

# Copies only what differs, so that nothing is linked again without need.
keep = cmp --silent $(1) $(2) || cp --remove-destination $(1) $(2)

# Where the registry's crates were unpacked is nobody's business.
CRATES = $(or $(CARGO_HOME),$(HOME)/.cargo)/registry/src
remap = "build.rustflags = [$$(printf "'--remap-path-prefix=%s=crates', " $(CRATES)/*)]"

.PHONY: help build demo test soak check bench record header clean rust rust-slow slow newest asan
.PHONY: library install install-modules uninstall uninstall-modules

help: ## this list
	@awk -F ':[^#]*## ' '/^[a-z-]+:.*## / { printf "  make %-17s %s\n", $$1, $$2 }' Makefile

build: ## the two modules, the library and the tool, in build/
	@tests/setup build
	@$(MAKE) --no-print-directory $(NGINX_MODULE) $(HTTPD_MODULE)
	@printf '%s:\n' "$(abspath $(BUILD))"
	@cd $(BUILD); ls -1 $(notdir $(NGINX_MODULE) $(HTTPD_MODULE) $(LIBRARY) $(ARCHIVE) $(TOOL)) | sed 's/^/  /'

library: ## the library and the tool alone, in build/
	@tests/setup library
	@$(MAKE) --no-print-directory rust

demo: ## nginx and httpd with demo users on 127.0.0.1, until Ctrl-C
	@tests/setup demo
	@[ -e $(NGINX_MODULE) ] || echo "building: a minute or two the first time"
	@$(MAKE) --no-print-directory build
	@exec demo/run

test: ## every suite, with its time
	@tests/setup test
	@$(MAKE) --no-print-directory build slow newest
	@exec tests/run

soak: ## the long forms: chaos, reloads, valgrind, sanitizers, fuzzing; an hour and a half
	@tests/setup test
	@$(MAKE) --no-print-directory build slow newest asan
	@exec tests/soak

check: ## format, lints, drift of the header and of what is exported
	@tests/setup check
	$(CARGO) fmt --check
	$(CARGO) clippy --quiet --all-targets --all-features -- -D warnings
	$(CARGO) clippy --quiet --all-targets --no-default-features -- -D warnings
	@$(MAKE) --no-print-directory rust
	$(CARGO) test --quiet --test header

bench: ## what signing in costs both servers; WRITE=1 renews docs/benchmarks.md
	@tests/setup bench
	@$(MAKE) --no-print-directory build
	@exec benches/run $(if $(WRITE),--write)

record: ## record the instruction counts that make test compares with
	@tests/setup bench
	@$(MAKE) --no-print-directory build
	NEGOTIATE_AUTH_RECORD=1 $(CARGO) test --quiet --test instructions recorded

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
	@$(CARGO) fetch --quiet --target $$(rustc --print host-tuple)
	@$(CARGO) rustc --quiet --release --lib --crate-type staticlib,cdylib --config $(remap) \
		-- --print native-static-libs=$(RELEASE)/native-static-libs \
		2> >(sed '/native artifacts to link against/,+1d' >&2)
	@$(call keep,$(RELEASE)/libnegotiate_auth.so,$(LIBRARY))
	@$(call keep,$(RELEASE)/libnegotiate_auth.a,$(ARCHIVE))
	@$(call keep,$(RELEASE)/native-static-libs,$(NATIVE_LIBS))
	@$(CARGO) build --quiet --release --features cli --bin negotiate-auth --target-dir $(TARGET)/tool \
		--config $(remap)
	@$(call keep,$(TARGET)/tool/release/negotiate-auth,$(TOOL))
	@ln -sf $(notdir $(LIBRARY)) $(BUILD)/libnegotiate_auth.so

$(ARCHIVE): rust ;

slow: $(SLOW_MODULES)

rust-slow:
	@mkdir -p $(SLOW)
	@$(CARGO) rustc --quiet --profile slow --features slow-accounts --lib --crate-type staticlib
	@$(call keep,$(TARGET)/slow/libnegotiate_auth.a,$(SLOW_ARCHIVE))

$(SLOW_ARCHIVE): rust-slow ;

# A module is built for one version of its server: dpkg's list is as old as that.
$(NGINX_MODULE): $(ARCHIVE) $(wildcard ngx_module/* include/*.h /var/lib/dpkg/info/nginx.list)
	@ngx_module/build $(BUILD) $(ARCHIVE)

$(HTTPD_MODULE): $(ARCHIVE) $(wildcard apache_module/* include/*.h /var/lib/dpkg/info/apache2-bin.list)
	@apache_module/build $(BUILD) $(ARCHIVE)

$(SLOW)/ngx_http_auth_negotiate_module.so: $(SLOW_ARCHIVE) $(NGINX_MODULE)
	@ngx_module/build $(SLOW) $(SLOW_ARCHIVE)

$(SLOW)/mod_auth_negotiate.so: $(SLOW_ARCHIVE) $(HTTPD_MODULE)
	@apache_module/build $(SLOW) $(SLOW_ARCHIVE)

newest: $(foreach part,full full/slow bare,$(NEWEST)/$(part)/$(notdir $(NGINX_MODULE)))
	@:

asan: $(foreach part,asan asan/slow,$(NEWEST)/$(part)/$(notdir $(NGINX_MODULE)))
	@:

$(NEWEST_BUILDS:%=$(NEWEST)/%/nginx): $(NEWEST)/%/nginx: tests/nginx/build tests/nginx/Cargo.lock
	@tests/nginx/build server $* $(@D)

$(NEWEST_BUILDS:%=$(NEWEST)/%/$(notdir $(NGINX_MODULE))): $(NEWEST)/%/$(notdir $(NGINX_MODULE)): \
		$(NEWEST)/%/nginx $(NGINX_MODULE)
	@tests/nginx/build module $* $(<D) $(@D) $(ARCHIVE)

$(NEWEST_BUILDS:%=$(NEWEST)/%/slow/$(notdir $(NGINX_MODULE))): $(NEWEST)/%/slow/$(notdir $(NGINX_MODULE)): \
		$(NEWEST)/%/nginx $(SLOW)/$(notdir $(NGINX_MODULE))
	@tests/nginx/build module $* $(<D) $(@D) $(SLOW_ARCHIVE)

# What follows installs what is in build/ and builds nothing, so that root needs no Rust. Folders have the names of the
# GNU Coding Standards; DESTDIR goes before all of them.
PREFIX = /usr/local
prefix = $(PREFIX)
exec_prefix = $(prefix)
bindir = $(exec_prefix)/bin
libdir = $(exec_prefix)/lib
pkgconfigdir = $(libdir)/pkgconfig
includedir = $(prefix)/include
datarootdir = $(prefix)/share
mandir = $(datarootdir)/man
docdir = $(datarootdir)/doc/negotiate-auth
# Where the servers look, wherever the rest goes.
nginx_modulesdir = $(or $(shell sed -n 's/.*--modules-path=\([^ ]*\).*/\1/p' \
	/usr/share/nginx/src/conf_flags 2>/dev/null),/usr/lib/nginx/modules)
httpd_modulesdir = $(or $(shell apxs -q LIBEXECDIR 2>/dev/null),/usr/lib/apache2/modules)

INSTALL = install
# STRIP=: keeps what debuggers want.
STRIP = strip

VERSION = $(shell sed -n '/^version/{s/.*"\(.*\)"/\1/p;q}' Cargo.toml)
SONAME = $(notdir $(LIBRARY))
REAL_NAME = libnegotiate_auth.so.$(VERSION)
EXAMPLES = $(wildcard examples/*)
MANUALS = $(wildcard docs/*.[1-8])
man_place = $(mandir)/man$(subst .,,$(suffix $(1)))/$(notdir $(1))

INSTALLED = $(addprefix $(libdir)/,$(REAL_NAME) $(SONAME) libnegotiate_auth.so libnegotiate_auth.a) \
	$(pkgconfigdir)/negotiate-auth.pc $(includedir)/negotiate_auth.h $(bindir)/negotiate-auth \
	$(foreach page,$(MANUALS),$(call man_place,$(page))) $(docdir)/reasons.md $(addprefix $(docdir)/,$(EXAMPLES))
INSTALLED_MODULES = $(nginx_modulesdir)/$(notdir $(NGINX_MODULE)) $(httpd_modulesdir)/$(notdir $(HTTPD_MODULE))

# One file; with its folder, mode, and what comes after.
put = $(INSTALL) -D -m $(1) $(2) $(DESTDIR)$(3)
built = for file in $(1); do [ -e $$file ] || { echo "$$file is missing: run \`make $(2)' first" >&2; exit 1; }; done
below = $(patsubst $($(1))%,$${$(1)}%,$(2))

install: ## what is in build/, but for the modules, to DESTDIR and PREFIX (/usr/local)
	@$(call built,$(LIBRARY) $(ARCHIVE) $(NATIVE_LIBS) $(TOOL),library)
	$(call put,644,$(LIBRARY),$(libdir)/$(REAL_NAME))
	$(STRIP) --strip-unneeded $(DESTDIR)$(libdir)/$(REAL_NAME)
	ln -sf $(REAL_NAME) $(DESTDIR)$(libdir)/$(SONAME)
	ln -sf $(SONAME) $(DESTDIR)$(libdir)/libnegotiate_auth.so
	$(call put,644,$(ARCHIVE),$(libdir)/libnegotiate_auth.a)
	$(STRIP) --strip-debug $(DESTDIR)$(libdir)/libnegotiate_auth.a
	$(call put,644,include/negotiate_auth.h,$(includedir)/negotiate_auth.h)
	sed -e 's|@prefix@|$(prefix)|' -e 's|@exec_prefix@|$(call below,prefix,$(exec_prefix))|' \
		-e 's|@libdir@|$(call below,exec_prefix,$(libdir))|' \
		-e 's|@includedir@|$(call below,prefix,$(includedir))|' \
		-e 's|@version@|$(VERSION)|' \
		-e 's|@libs@|$(filter-out -lgcc_s -lc,$(shell cat $(NATIVE_LIBS) 2>/dev/null))|' negotiate-auth.pc.in \
		| $(call put,644,/dev/stdin,$(pkgconfigdir)/negotiate-auth.pc)
	$(call put,755,$(TOOL),$(bindir)/negotiate-auth)
	$(STRIP) $(DESTDIR)$(bindir)/negotiate-auth
	$(foreach page,$(MANUALS),$(call put,644,$(page),$(call man_place,$(page)));)
	$(foreach file,$(EXAMPLES),$(call put,644,$(file),$(docdir)/$(file));)
	$(call put,644,docs/reasons.md,$(docdir)/reasons.md)

install-modules: ## the modules in build/, to where nginx and httpd have theirs
	@$(call built,$(NGINX_MODULE) $(HTTPD_MODULE),build)
	$(call put,644,$(NGINX_MODULE),$(nginx_modulesdir)/$(notdir $(NGINX_MODULE)))
	$(call put,644,$(HTTPD_MODULE),$(httpd_modulesdir)/$(notdir $(HTTPD_MODULE)))

uninstall: ## remove what make install put there
	rm -f $(addprefix $(DESTDIR),$(INSTALLED))
	rmdir $(addprefix $(DESTDIR),$(docdir)/examples $(docdir)) 2>/dev/null || true

uninstall-modules: ## remove what make install-modules put there
	rm -f $(addprefix $(DESTDIR),$(INSTALLED_MODULES))
