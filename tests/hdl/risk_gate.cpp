// The risk gate alone behind a C interface: beats in one after the other, what came of each out.
#include "Vsentinel_risk_gate.h"
#include "verilated.h"

#include <cstdint>
#include <cstring>

namespace {
struct Gate {
    VerilatedContext context;
    Vsentinel_risk_gate top{&context};
    uint64_t cycle = 0;
    uint32_t pulses = 0;

    void tick() {
        top.clk = 1;
        top.eval();
        top.clk = 0;
        top.eval();
        ++cycle;
        pulses |= top.causes;
    }
};

constexpr int kPatience = 64;
constexpr int kSettle = 5;
}  // namespace

extern "C" {
struct Step {
    uint8_t beat[64];
    uint64_t now;
    uint32_t closed;
    uint32_t causes_now;
    uint32_t arm;  // 1: a new arm epoch begins before this beat
    uint32_t arm_epoch;
};

struct Outcome {
    uint8_t permit[64];
    uint32_t given;   // records that came
    uint32_t cycles;  // from the cycle the beat was taken to the first with the record
    uint32_t causes;  // every cause seen
    uint32_t levels;  // those up at the end
};

Gate* gate_new() {
    auto* gate = new Gate;
    gate->top.rst = 1;
    gate->tick();
    gate->tick();
    gate->top.rst = 0;
    gate->top.permits___05Fready = 1;
    for (int i = 0; i < 1 << 16 && (gate->tick(), gate->top.clearing); ++i) {
    }
    return gate;
}

void gate_free(Gate* gate) {
    gate->top.final();
    delete gate;
}

void gate_set_limits(Gate* gate, const uint32_t* words, uint32_t count) {
    for (uint32_t i = 0; i < count; ++i) gate->top.limits[i] = words[i];
    gate->tick();
}

int gate_set_row(Gate* gate, const uint32_t* words, uint32_t count) {
    for (uint32_t i = 0; i < count; ++i) gate->top.table_write[i] = words[i];
    gate->top.eval();
    for (int i = 0; i < kPatience && !gate->top.table_ready; ++i) gate->tick();
    const int ready = gate->top.table_ready;
    gate->tick();
    for (uint32_t i = 0; i < count; ++i) gate->top.table_write[i] = 0;
    return ready;
}

int gate_run(Gate* gate, const Step* steps, Outcome* outcomes, uint32_t count) {
    auto& top = gate->top;
    for (uint32_t n = 0; n < count; ++n) {
        const Step& step = steps[n];
        Outcome& out = outcomes[n];
        std::memset(&out, 0, sizeof out);
        top.now = step.now;
        top.arm_epoch = step.arm_epoch;
        top.armed_pulse = step.arm;
        gate->tick();
        top.armed_pulse = 0;
        top.closed = step.closed;
        top.causes_now = step.causes_now;
        std::memcpy(&top.beats___05Fpayload[0], step.beat, 64);
        top.beats___05Fvalid = 1;
        top.eval();
        gate->pulses = 0;
        int waited = 0;
        while (!top.beats___05Fready && ++waited < kPatience) gate->tick();
        if (!top.beats___05Fready) return -1;
        uint32_t passed = 0;
        do {
            gate->tick();
            top.beats___05Fvalid = 0;
            top.eval();
            ++passed;
            if (top.permits___05Fvalid) {
                if (out.given++ == 0) {
                    out.cycles = passed;
                    std::memcpy(out.permit, &top.permits___05Fpayload[0], 64);
                }
            }
        } while (top.busy && passed < kPatience);
        if (top.busy) return -2;
        for (int i = 0; i < kSettle; ++i) gate->tick();
        out.causes = gate->pulses;
        out.levels = top.causes;
    }
    return 0;
}
}
