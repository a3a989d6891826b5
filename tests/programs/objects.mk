# Compiles some rooms of SOURCE into OBJECTS, three times over, most in a tenth of a second; and one source
# of as many functions that the compiler needs a second or two, has passes behind it and memory that it
# does not come back to soon.
sources := $(wildcard $(SOURCE)/src/page/[a-s]*.c $(SOURCE)/src/base/*.c $(SOURCE)/src/wire/*.c)
objects := $(foreach n,1 2 3,$(patsubst %.c,$(OBJECTS)/$(n)-%.o,$(notdir $(sources))))
VPATH := $(sort $(dir $(sources)))
all: $(objects) $(OBJECTS)/long.o
$(OBJECTS)/long.c:
	@mkdir -p $(OBJECTS)
	awk 'BEGIN { for (i = 0; i < 400; i++) printf "int f%d(int n, int *p) { int s = %d; for (int i = 0; i < n; i++) " \
	    "{ if (p[i] > s) s += p[i] * %d; else s ^= p[n - i] >> 3; } return s; }\n", i, i, i * 7 + 1 }' >$@
$(OBJECTS)/long.o: $(OBJECTS)/long.c
	gcc -std=gnu11 -O2 -c $< -o $@
define rule
$(OBJECTS)/$(1)-%.o: %.c
	@mkdir -p $(OBJECTS)
	gcc -std=gnu11 -O2 -D_GNU_SOURCE -I$(SOURCE)/src -I$(SOURCE)/include -c $$< -o $$@
endef
$(foreach n,1 2 3,$(eval $(call rule,$(n))))
