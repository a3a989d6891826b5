# Compiles some rooms of SOURCE into OBJECTS, three times over so that it takes a moment.
sources := $(wildcard $(SOURCE)/src/page/[a-s]*.c $(SOURCE)/src/base/*.c $(SOURCE)/src/wire/*.c)
objects := $(foreach n,1 2 3,$(patsubst %.c,$(OBJECTS)/$(n)-%.o,$(notdir $(sources))))
VPATH := $(sort $(dir $(sources)))
all: $(objects)
define rule
$(OBJECTS)/$(1)-%.o: %.c
	@mkdir -p $(OBJECTS)
	gcc -std=gnu11 -O2 -D_GNU_SOURCE -I$(SOURCE)/src -I$(SOURCE)/include -c $$< -o $$@
endef
$(foreach n,1 2 3,$(eval $(call rule,$(n))))
