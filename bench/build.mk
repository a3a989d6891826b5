# A fixed part of this project, compiled as a compiler is used: a file each, some 50 of them. Objects of the
# same name in different rooms would be one file, so the room is in theirs.
rooms := base page wire codec store heat policy pager client daemon cli sys stats
sources := $(filter-out %/main.c $(wildcard $(SOURCE)/src/*/test_*.c), \
	$(foreach room,$(rooms),$(wildcard $(SOURCE)/src/$(room)/*.c)))
objects := $(foreach source,$(sources),$(OBJECTS)/$(subst /,-,$(patsubst $(SOURCE)/src/%.c,%,$(source))).o)
all: $(objects)
define rule
$(OBJECTS)/$(subst /,-,$(patsubst $(SOURCE)/src/%.c,%,$(1))).o: $(1)
	gcc -std=gnu11 -g -O2 -D_GNU_SOURCE -DPP_VERSION='"0"' -DPP_LIBDIR='""' -I$(SOURCE)/src -I$(SOURCE)/include \
	    -c $(1) -o $$@
endef
$(foreach source,$(sources),$(eval $(call rule,$(source))))
