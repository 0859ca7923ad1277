# The two channels of the gate and the stages at the shell's ports stay as they are written.
set_property DONT_TOUCH true [get_cells -hierarchical -filter {NAME =~ *SHELL/core/gate_again || NAME =~ *SHELL/core/kill_again || NAME =~ *SHELL/core/watchdog_again || NAME =~ *SHELL/core/table_again}]
