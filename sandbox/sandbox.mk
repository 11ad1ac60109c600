# Targets of the sandbox and of the tests that need a cluster. The root Makefile includes this.
#
#   make up                    a cluster with Waggle and an application behind a Gateway; NODES, FLAGS
#                              as below, VALUES='--set envoy.enabled=false'
#   make down
#   make sandbox-up            a cluster to play with; NODES=3 FLAGS='-gateway-api standard'
#   make sandbox-down
#   make e2e                   end-to-end tests: those of pods and Services on a cluster that has
#                              nothing else of Waggle's, then e2e-mesh; RUN=Bookstore chooses of
#                              the former, PROXY=nftables those that need nothing but Kubernetes;
#                              FAMILIES='ipv4 ipv6 ipv4,ipv6' on a cluster of each; KEEP=1 keeps
#                              the cluster of a failed run, FLAGS as above
#   make e2e-node-long         20 restarts and 10 upgrades of the agents, 180 replaced backends, under load
#   make e2e-mesh              those of the mesh, on a cluster that the chart was installed in;
#                              RUN=TestEcho, CONFORMANCE='HTTPRouteWeight|GatewayModifyListeners',
#                              FAMILIES and VALUES as above
#   make e2e-mesh-long         20 restarts of each part of the mesh under load, an hour; 5 operators
#                              that lead and 5 nodes that announce an address end without a word
#   make e2e-install           installed by the commit before, or OLD=COMMIT, upgraded under
#                              load, told otherwise, removed without a trace
#   make conformance           the Gateway API's suite; PROFILE=GATEWAY-HTTP claims one, REPORT
#                              is a file for its report, ARGS chooses (-run-test=HTTPRouteWeight)
#   make e2e-services          Kubernetes' own specs of Services, on Waggle alone, or
#                              PROXY=nftables; FAMILIES=ipv6; SPECS='Services.*NodePort'

SANDBOX_FOLDER := $(patsubst %/,%,$(dir $(lastword $(MAKEFILE_LIST))))
NODES ?= 2
PROXY ?= waggle
comma := ,

.PHONY: up down sandbox sandbox-up sandbox-down e2e e2e-node-long e2e-mesh e2e-mesh-long e2e-install conformance e2e-services

sandbox:
	@go build -C $(SANDBOX_FOLDER) -o bin/sandbox .

up: NODES = 3
up: sandbox ## a cluster of three nodes with Waggle, and a Gateway to try
	@SANDBOX=$(abspath $(SANDBOX_FOLDER)/bin/sandbox) VALUES='$(VALUES)' $(SANDBOX_FOLDER)/../test/e2e/up.sh -nodes $(NODES) $(FLAGS)

down: sandbox-down ## end it; nothing stays

sandbox-up: sandbox
	$(SANDBOX_FOLDER)/bin/sandbox up -nodes $(NODES) $(FLAGS)

sandbox-down: sandbox
	$(SANDBOX_FOLDER)/bin/sandbox down

e2e e2e-node-long e2e-mesh e2e-mesh-long e2e-install: NODES = 3
e2e: sandbox
	PROXY=$(PROXY) FAMILIES='$(FAMILIES)' NODES=$(NODES) FLAGS='$(FLAGS)' KEEP='$(KEEP)' RUN='$(RUN)' $(SANDBOX_FOLDER)/../test/e2e/run.sh
ifeq ($(PROXY)$(RUN),waggle)
	$(MAKE) e2e-mesh
endif

e2e-node-long: sandbox
	WAGGLE_LONG=1 VERBOSE=1 FAMILIES='$(or $(FAMILIES),ipv4$(comma)ipv6)' NODES=$(NODES) KEEP='$(KEEP)' \
		PACKAGES=./node RUN='$(or $(RUN),^Test(AgentRestarts|Upgrades|Replacements)$$)' $(SANDBOX_FOLDER)/../test/e2e/run.sh

e2e-mesh: sandbox
	PROXY=chart FAMILIES='$(FAMILIES)' VALUES='$(VALUES)' NODES=$(NODES) FLAGS='$(FLAGS)' KEEP='$(KEEP)' RUN='$(RUN)' CONFORMANCE='$(CONFORMANCE)' $(SANDBOX_FOLDER)/../test/e2e/run.sh

# The sandbox's controller manager goes on without API server, and would take the nodes for dead.
e2e-mesh-long: sandbox
	FLAGS='-node-grace 5m $(FLAGS)' PROXY=chart WAGGLE_LONG=1 VERBOSE=1 FAMILIES='$(FAMILIES)' NODES=$(NODES) KEEP='$(KEEP)' TIMEOUT=4h RUN='$(or $(RUN),^Test(Restarts|Standby|EnvoyCrash|Announcement)$$)' $(SANDBOX_FOLDER)/../test/e2e/run.sh

e2e-install: sandbox
	OLD='$(OLD)' NODES=$(NODES) FLAGS='$(FLAGS)' KEEP='$(KEEP)' $(SANDBOX_FOLDER)/../test/e2e/install.sh

conformance: sandbox
	PROFILE='$(PROFILE)' REPORT='$(REPORT)' NODES=$(NODES) FLAGS='$(FLAGS)' KEEP='$(KEEP)' $(SANDBOX_FOLDER)/../test/conformance/run.sh $(ARGS)

e2e-services: sandbox
	PROXY=$(PROXY) FAMILIES='$(FAMILIES)' SPECS='$(SPECS)' KEEP='$(KEEP)' $(SANDBOX_FOLDER)/../test/k8s-e2e/run.sh $(ARGS)
