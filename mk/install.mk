# Debian packages, models, and installation. The one list of packages is packages.txt.
packages_of = $(shell sed -n 's/^$(1): *//p' packages.txt)

.PHONY: packages packages-for-tests packages-for-lint
packages:
	@mk/packages $(call packages_of,build) $(call packages_of,run)

packages-for-tests:
	@mk/packages $(call packages_of,build) $(call packages_of,run) $(call packages_of,test)

packages-for-lint: packages-for-tests
	@mk/packages $(call packages_of,lint)

# MODEL is a name in the catalogue or a file; without it kedge takes $KEDGE_MODEL or its default.
REPO ?= .
MODEL ?=
.PHONY: run
run: packages
	@$(MAKE) -s --no-print-directory all
	@$(O)/kedge model get $(if $(MODEL),"$(MODEL)") >/dev/null
	@exec $(O)/kedge -C "$(REPO)" $(if $(MODEL),-m "$(MODEL)")

# Tests that find no model are skipped, and say so.
TEST_MODELS := smol q05
.PHONY: models-for-tests
models-for-tests: all
	@for model in $(TEST_MODELS); do \
	    $(O)/kedge model get $$model >/dev/null || echo "$$model cannot be fetched: tests that need it will be skipped"; \
	done

bindir := $(DESTDIR)$(PREFIX)/bin
datadir := $(DESTDIR)$(PREFIX)/share
manuals := $(wildcard man/*.[15])
documents := README.md LICENSE config/kedge.conf config/models.conf $(wildcard config/themes/*.theme)

.PHONY: install uninstall
install: all
	install -d "$(bindir)" "$(datadir)/doc/kedge"
	install -m 755 $(O)/kedge "$(bindir)/kedge"
	install -m 644 $(documents) "$(datadir)/doc/kedge"
	for page in $(manuals); do install -D -m 644 $$page "$(datadir)/man/man$${page##*.}/$${page##*/}" || exit 1; done

uninstall:
	rm -f "$(bindir)/kedge"
	for page in $(manuals); do rm -f "$(datadir)/man/man$${page##*.}/$${page##*/}"; done
	rm -rf "$(datadir)/doc/kedge"
