# Every target works from a fresh clone: what is missing is installed first, by apt and into .venv.
#
# `make` lists the targets. tests/tools/ holds what is longer than a line.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

export PATH := $(CURDIR)/.venv/bin:$(PATH)
# Molecule would otherwise look in extensions/ first, and say so.
export MOLECULE_GLOB := molecule/*/molecule.yml
# No frames around its output, which would break lines.
export MOLECULE_COMMAND_BORDERS :=

HOSTS := tests/hosts/hosts
VENV := .venv/.installed
LINK := .ansible/collections/ansible_collections/shipshape/stack
SCENARIOS := $(patsubst molecule/%/molecule.yml,%,$(wildcard molecule/*/molecule.yml))
FAULTS := pytest -q -n 3 --dist loadfile --no-loadscope-reorder --durations=25 tests/faults
STAGES := lint units sanity molecule faults bench

##@ The two commands
.PHONY: demo
demo: system $(VENV) ## Converge and verify a Debian 13 host on this machine, and show it
	tests/tools/demo

.PHONY: test
test: system $(VENV) ## Everything that CI runs, with the time of each stage
	tests/tools/stages $(STAGES)

##@ Parts of `make test`
.PHONY: lint
lint: system $(VENV) ## All linters; nothing is changed
	tests/tools/lint

.PHONY: units
units: $(VENV) ## Unit tests
	pytest -q tests/unit tests/hosts/test_hosts_plan.py

.PHONY: sanity
sanity: $(VENV) ## ansible-test sanity, in a copy of the checkout
	tests/tools/ansible-test sanity

.PHONY: molecule
molecule: system $(VENV) ## All Molecule scenarios
	tests/tools/scenarios $(SCENARIOS)

.PHONY: $(SCENARIOS:%=molecule-%)
$(SCENARIOS:%=molecule-%): molecule-%: system $(VENV)
	molecule test --scenario-name $*

.PHONY: faults
faults: system $(VENV) ## Fault tests on real hosts, three files at a time, each on hosts of its own
	pytest -q tests/hosts/test_hosts_lifecycle.py tests/hosts/test_machine_untouched.py
	$(FAULTS) -m "not nightly"

##@ Slower, by hand
.PHONY: nightly
nightly: system $(VENV) ## Fault tests that are long, of roles that change rarely; over an hour
	$(FAULTS) -m nightly

.PHONY: vm-test
vm-test: system $(VENV) ## The same on a real virtual machine, with a real reboot
	tests/tools/system-packages vm
	tests/tools/vm-test

.PHONY: bench
bench: system $(VENV) ## Count remote calls and seconds per role
	tests/bench/bench

.PHONY: bench-databases
bench-databases: system $(VENV) ## Databases as the distribution has them against ours, on an idle machine
	tests/bench/databases

.PHONY: bench-reloads
bench-reloads: system $(VENV) ## Twenty reloads of nginx under load, on an idle machine
	tests/bench/reloads

.PHONY: bench-deploys
bench-deploys: system $(VENV) ## Twenty releases of the reference app under load, on an idle machine
	tests/bench/deploys

.PHONY: bench-verify
bench-verify: system $(VENV) ## A verification against a plain read of the same file, on an idle machine
	tests/bench/verify

.PHONY: grade
grade: system $(VENV) ## Grade a hardened host with outside tools
	tests/grade/grade

##@ Housekeeping
.PHONY: system
system: ## Install what is missing of podman and friends, by apt
	@mkdir -p .cache/hosts # as the caller, before anything with sudo does
	@tests/tools/system-packages hosts

.PHONY: lock
lock: $(VENV) ## Renew requirements/dev.txt from dev.in
	tests/tools/lock

.PHONY: clean
clean: ## Remove the hosts of this checkout; images and .venv stay
	tests/hosts/vm down
	if command -v podman >/dev/null; then $(HOSTS) down --all; fi
	rm -rf .cache inventories/demo/hosts.yml
	@echo "Left: .venv, the host images ('make distclean' removes them too) and packages that apt installed."

.PHONY: distclean
distclean: clean ## clean, and the host images, .venv and caches
	$(HOSTS) image --remove
	rm -rf .venv .ansible .mypy_cache .pytest_cache .ruff_cache .hypothesis

.PHONY: help
help: ## This list
	@awk -F ':.*## ' '/^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' Makefile
	@echo
	@echo "One scenario: make $(firstword $(SCENARIOS:%=molecule-%) molecule-NAME)"

$(VENV): requirements/dev.txt | $(LINK)
	tests/tools/make-venv requirements/dev.txt
	touch $@

# shipshape.stack.* is this checkout, wherever it lies and whatever it is called.
$(LINK):
	mkdir -p $(@D)
	ln -sfn ../../../.. $@
