# Debian packages, the model, and installation. The one list of packages is packages.txt.
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
packages_of = $(shell sed -n 's/^$(1): *//p' packages.txt)

.PHONY: packages packages-for-tests
packages:
	@tests/packages "$(SUDO)" $(call packages_of,build) $(call packages_of,run)

packages-for-tests:
	@tests/packages "$(SUDO)" $(call packages_of,build) $(call packages_of,run) $(call packages_of,test)
