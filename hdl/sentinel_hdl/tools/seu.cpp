// The core and a scripted host, run again and again with one bit flipped in each run.
//
// The host is part of what is simulated: it reads nonces, answers challenges and consumes the ring as a true one does, so a
// run with an upset goes its own way. What it can notice is kept apart from what only the comparison with the run without
// an upset shows. All state lies in two plain structures, which are copied to go back in time.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

#include "Vsentinel_core.h"
#include "Vsentinel_core___024root.h"
#include "verilated.h"

namespace {

constexpr int kRing = 64, kQueue = 32, kRegisters = 16;
constexpr uint64_t kRingAddress = 0x10000000;
constexpr uint32_t kPatience = 300;      // cycles until the host gives an access up
constexpr uint32_t kSnapshots = 32;      // cycles between two snapshots of the run without upset
constexpr int kDrift = 48;               // cycles a run may lag behind or be ahead
constexpr uint32_t kOvertime = 1200;     // cycles a run may last longer
constexpr uint32_t kUnpaired = 8;        // addresses or data of PCIM kept while their other half is out
constexpr uint32_t kTaps = 0xA3000000;
constexpr uint64_t kKeys = 4096;         // client keys of a script are below

enum Code : uint32_t {
    kWrite, kRead, kBeat, kHalves, kWait, kTime, kKey, kAnswer, kVdip, kMark, kDrain, kPause, kEnd
};
// What a host sees of a fault by itself.
enum Seen : uint32_t { kTrip = 1, kStatus = 2, kRecord = 4, kBus = 8 };
// What must never be.
enum Broken : uint32_t { kUntrip = 1, kWrongful = 2 };
// How an order ended in the run without upset.
enum Verdict : uint8_t { kNone, kPermitted, kKilled, kRefused };

struct Op {
    uint32_t code, a, b, c;
    uint8_t data[64];
};
struct Cell {
    void *at;
    uint32_t width, depth, bytes;
};
struct Beat {
    uint64_t strobe;
    uint32_t slot;
    uint32_t data[16];
};
struct Result {
    uint32_t differs, seen, broken, latent;
    uint32_t cycle, key;  // of the first thing that must never be
    uint32_t first;       // cycle of the first difference at the ports
    uint32_t pad;
};

// Everything of the host that its future depends on.
struct Host {
    uint64_t time_base;
    uint32_t pc, waited, started, halted, noise, pause, vdip, drained;
    uint32_t registers[kRegisters];
    uint32_t read_number;
    // OCL and SDA: 0 idle, what is still to be shaken.
    uint32_t aw, w, ar, answer, port;
    // PCIS
    Beat queue[kQueue];
    uint32_t head, addresses, words, tail, acknowledged;
    uint32_t slot;
    // PCIM
    uint64_t address[kUnpaired];
    uint32_t n_address, n_data;
    uint32_t data[kUnpaired][16];
    uint32_t owed, error_owed;
    uint32_t ring[kRing][16];
    uint32_t next_record;
    uint32_t challenge;
    uint8_t given[kKeys];
};

uint32_t crc_table[256];
uint32_t crc32(const uint8_t *data, size_t size) {
    uint32_t crc = ~0u;
    while (size--) crc = crc >> 8 ^ crc_table[(crc ^ *data++) & 255];
    return ~crc;
}

struct Campaign {
    VerilatedContext context;
    Vsentinel_core top{&context};
    std::vector<Op> script;
    std::vector<Cell> cells;
    Host host{};
    uint32_t cycle = 0, seen = 0, reads_differ = 0;
    bool golden = true;
    // Of the run without upset.
    std::vector<uint32_t> hashes;
    std::vector<uint8_t> tripped;
    std::vector<uint32_t> reads;
    std::vector<std::vector<uint8_t>> states;
    std::vector<Host> hosts;
    std::vector<uint32_t> mark_cycles, mark_names;
    uint8_t verdicts[kKeys] = {}, controls[kKeys] = {};
    uint32_t window = 0, strange = 0;
    Result result{};

    Vsentinel_core___024root *root() { return top.rootp; }
    size_t root_size() { return sizeof(Vsentinel_core___024root); }

    Campaign() {
        for (uint32_t i = 0; i < 256; i++) {
            uint32_t crc = i;
            for (int k = 0; k < 8; k++) crc = crc & 1 ? crc >> 1 ^ 0xEDB88320u : crc >> 1;
            crc_table[i] = crc;
        }
        host.noise = 1, host.next_record = 1;
        cells = {
#include "cells.inc"
        };
        top.rst = 1;
        for (int i = 0; i < 8; i++) clock();
        top.rst = 0;
        cycle = 0;
    }

    void clock() {
        top.clk = 0, top.eval();
        top.clk = 1, top.eval();
    }

    bool pauses() {
        if (!host.pause) return false;
        host.noise ^= host.noise << 13, host.noise ^= host.noise >> 17, host.noise ^= host.noise << 5;
        return (host.noise & 0xFF) < host.pause;
    }

    void flip(uint32_t cell, uint32_t word, uint32_t bit) {
        uint8_t *at = static_cast<uint8_t *>(cells[cell].at) + size_t(word) * cells[cell].bytes;
        at[bit / 8] ^= 1 << bit % 8;
    }

    // --- the host ---

    void next() { host.pc++, host.waited = 0, host.started = 0; }

    void begin_write(uint32_t address, uint32_t value, uint32_t port) {
        host.port = port;
        host.aw = host.w = host.answer = 1, host.ar = 0;
        if (port) top.sda_awaddr = address, top.sda_wdata = value, top.sda_wstrb = 15;
        else top.ocl_awaddr = address, top.ocl_wdata = value, top.ocl_wstrb = 15;
        host.started = 1;
    }
    void begin_read(uint32_t address, uint32_t port) {
        host.port = port;
        host.ar = host.answer = 1, host.aw = host.w = 0;
        if (port) top.sda_araddr = address;
        else top.ocl_araddr = address;
        host.started = 1;
    }

    void push(const uint8_t *data, uint64_t strobe, uint32_t slot) {
        Beat &beat = host.queue[host.tail++ % kQueue];
        beat.strobe = strobe, beat.slot = slot;
        std::memcpy(beat.data, data, 64);
    }

    // Starts what the script asks for next; several in one cycle where they take no time.
    void advance() {
        for (int turns = 0; turns < 4; turns++) {
            const Op &op = script[host.pc];
            switch (op.code) {
                case kWrite:
                    if (!host.started) {
                        if (op.c & 2) std::memset(host.ring, 0, sizeof host.ring), host.next_record = 1;  // the ring begins anew
                        begin_write(op.a, op.b, op.c & 1);
                    }
                    return;
                case kKey: {
                    if (host.halted) { next(); break; }
                    const uint32_t nonce = host.registers[op.b];
                    if (!host.started) begin_write(op.a, op.c ^ nonce, 0);
                    return;
                }
                case kAnswer: {
                    const uint32_t challenge = host.challenge;
                    if (!host.started) begin_write(op.a, challenge >> 1 ^ (challenge & 1 ? kTaps : 0), 0);
                    return;
                }
                case kRead:
                    if (!host.started) begin_read(op.a, op.c & 1);
                    return;
                case kBeat:
                case kHalves: {
                    if (host.tail - host.acknowledged > kQueue - 4) return;
                    uint8_t data[64];
                    std::memcpy(data, op.data, 64);
                    if (op.a) {  // an order: the epoch the host read last, or an older one
                        const uint32_t epoch = host.registers[op.b] - op.c;
                        std::memcpy(data + 32, &epoch, 4);
                    }
                    const uint32_t slot = host.slot++ % 32;
                    if (op.code == kBeat) push(data, ~0ull, slot);
                    else push(data, 0xFFFFFFFF00000000ull, slot), push(data, 0xFFFFFFFFull, slot);
                    next();
                    break;
                }
                case kWait:
                    if (host.waited++ >= op.a) { next(); break; }
                    return;
                case kTime:
                    host.time_base += op.a | uint64_t(op.b) << 32;
                    next();
                    break;
                case kVdip:
                    host.vdip = op.a;
                    next();
                    break;
                case kPause:
                    host.pause = op.a;
                    next();
                    break;
                case kMark:
                    if (golden) mark_cycles.push_back(cycle), mark_names.push_back(op.a);
                    next();
                    break;
                case kDrain:
                    if (host.acknowledged == host.tail) { next(); break; }
                    if (host.waited++ > kPatience) { notice(kBus); host.acknowledged = host.addresses = host.words = host.tail; next(); break; }
                    return;
                case kEnd:
                    return;
            }
        }
    }

    void notice(uint32_t what) { seen |= what, host.halted = 1; }

    void finish_read(uint32_t value, bool refused) {
        const Op &op = script[host.pc];
        host.registers[op.b] = value;
        if (golden) {
            reads.push_back(value);
        } else if (op.c & 2) {
            const uint32_t was = host.read_number < reads.size() ? reads[host.read_number] : 0;
            // Bits the host knows how they should be.
            if ((value ^ was) & op.data[0] * 0x01010101u || refused) notice(kStatus);
        } else if (refused) {
            notice(kBus);
        }
        host.read_number++;
    }

    void record(uint64_t address, const uint32_t *data) {
        const uint64_t offset = address - kRingAddress;
        const bool inside = address >= kRingAddress && offset < kRing * 64 && address % 64 == 0;
        host.owed++;
        if (!inside) {
            host.error_owed++;
            notice(kRecord);
            return;
        }
        std::memcpy(host.ring[offset / 64], data, 64);
        if (offset / 64 != (host.next_record - 1) % kRing) notice(kRecord);
        for (;;) {
            const uint32_t *slot = host.ring[(host.next_record - 1) % kRing];
            if (slot[14] != host.next_record) break;
            if (crc32(reinterpret_cast<const uint8_t *>(slot), 60) != slot[15]) {
                notice(kRecord);
                break;
            }
            host.next_record++;
            consume(reinterpret_cast<const uint8_t *>(slot));
        }
    }

    void consume(const uint8_t *bytes) {
        const uint8_t kind = bytes[24];
        if (kind == 130) {
            std::memcpy(&host.challenge, bytes + 4, 4);
        } else if (kind == 128) {
            if (bytes[26] & 4) notice(kRecord);
        } else if (kind == 129) {
            uint64_t key;
            std::memcpy(&key, bytes, 8);
            const bool permitted = bytes[25] == 1;
            if (golden) {
                if (key < kKeys) {
                    // A key that was used twice counts as permitted: it may be once.
                    if (verdicts[key] != kPermitted) verdicts[key] = permitted ? kPermitted : bytes[32] == 1 ? kKilled : kRefused;
                    controls[key] = bytes[32];
                    if (permitted && host.given[key]++) strange++;
                } else {
                    strange++;
                }
            } else if (permitted) {
                permit(key);
            }
        }
    }

    void breaks(uint32_t what, uint32_t key) {
        if (!result.broken) result.cycle = cycle, result.key = key;
        result.broken |= what;
    }

    void permit(uint64_t key) {
        const uint8_t was = key < kKeys ? verdicts[key] : uint8_t(kNone);
        if (was == kKilled || closed_throughout()) breaks(kUntrip, uint32_t(key));
        else if (was != kPermitted || host.given[key]) breaks(kWrongful, uint32_t(key));
        if (key < kKeys) host.given[key] = 1;
    }

    // Whether the run without upset was tripped all the time around this cycle.
    bool closed_throughout() const {
        const int from = int(cycle) - kDrift, to = int(cycle) + kDrift;
        if (from < 0 || to >= int(tripped.size())) return false;
        for (int i = from; i <= to; i++)
            if (!tripped[i]) return false;
        return true;
    }
    bool open_throughout() const {
        const int from = int(cycle) - kDrift, to = int(cycle) + kDrift;
        if (from < 0 || to >= int(tripped.size())) return false;
        for (int i = from; i <= to; i++)
            if (tripped[i]) return false;
        return true;
    }

    // --- a cycle ---

    void step() {
        advance();
        top.now = host.time_base + cycle;
        top.vdip = host.vdip;
        top.ocl_awvalid = host.aw && !host.port, top.ocl_wvalid = host.w && !host.port, top.ocl_arvalid = host.ar && !host.port;
        top.sda_awvalid = host.aw && host.port, top.sda_wvalid = host.w && host.port, top.sda_arvalid = host.ar && host.port;
        top.ocl_bready = top.ocl_rready = host.answer && !host.port;
        top.sda_bready = top.sda_rready = host.answer && host.port;
        top.pcis_bready = 1;
        top.pcis_awvalid = host.addresses != host.tail;
        if (top.pcis_awvalid) top.pcis_awaddr = host.queue[host.addresses % kQueue].slot * 64, top.pcis_awsize = 6, top.pcis_awlen = 0;
        top.pcis_wvalid = host.words != host.tail;
        if (top.pcis_wvalid) {
            const Beat &beat = host.queue[host.words % kQueue];
            for (int i = 0; i < 16; i++) top.pcis_wdata[i] = beat.data[i];
            top.pcis_wstrb = beat.strobe, top.pcis_wlast = 1;
        }
        top.pcim_awready = host.n_address < 8 && !pauses();
        top.pcim_wready = host.n_data < 8 && !pauses();
        top.pcim_bvalid = host.owed != 0 && !pauses();
        top.pcim_bid = 0, top.pcim_bresp = host.error_owed ? 2 : 0;
        top.clk = 0, top.eval();

        const uint32_t hash = outputs();
        const bool is_tripped = top.vled & 1;
        if (golden) {
            hashes.push_back(hash), tripped.push_back(is_tripped);
        } else {
            if (cycle >= hashes.size() || hash != hashes[cycle]) {
                if (!result.differs) result.first = cycle;
                result.differs = 1;
            }
            if (is_tripped && open_throughout()) notice(kTrip);
        }
        sample();
        top.clk = 1, top.eval();
        cycle++;
    }

    void sample() {
        const bool p = host.port;
        const bool awready = p ? top.sda_awready : top.ocl_awready, wready = p ? top.sda_wready : top.ocl_wready;
        const bool arready = p ? top.sda_arready : top.ocl_arready;
        const bool bvalid = p ? top.sda_bvalid : top.ocl_bvalid, rvalid = p ? top.sda_rvalid : top.ocl_rvalid;
        const uint32_t response = p ? (bvalid ? top.sda_bresp : top.sda_rresp) : (bvalid ? top.ocl_bresp : top.ocl_rresp);
        if (host.answer) {
            const bool reading = script[host.pc].code == kRead;
            if (host.aw && awready) host.aw = 0;
            if (host.w && wready) host.w = 0;
            if (host.ar && arready) host.ar = 0;
            if (reading ? rvalid : bvalid) {
                if (reading) {
                    finish_read(p ? top.sda_rdata : top.ocl_rdata, response != 0);
                } else if (golden ? false : response != script_response(host.pc)) {
                    notice(kBus);
                }
                if (golden && !reading) responses.resize(script.size()), responses[host.pc] = response;
                // An answer before both halves were taken is against the protocol.
                if (host.aw || host.w || host.ar) notice(kBus);
                host.answer = host.aw = host.w = host.ar = 0;
                next();
            } else if (host.waited++ > kPatience) {
                notice(kBus);
                host.answer = host.aw = host.w = host.ar = 0;
                next();
            }
        }
        if (top.pcis_awvalid && top.pcis_awready) host.addresses++;
        if (top.pcis_wvalid && top.pcis_wready) host.words++;
        if (top.pcis_bvalid) {
            if (host.acknowledged == host.tail) notice(kBus);
            else host.acknowledged++;
        }
        if (top.pcim_bvalid && top.pcim_bready) {
            host.owed--;
            if (host.error_owed) host.error_owed--;
        }
        // An upset core may send addresses without data, or data without addresses, for ever.
        if (top.pcim_awvalid && top.pcim_awready) {
            if (host.n_address < kUnpaired) host.address[host.n_address++] = top.pcim_awaddr;
            else notice(kBus);
        }
        if (top.pcim_wvalid && top.pcim_wready) {
            if (host.n_data < kUnpaired) std::memcpy(host.data[host.n_data++], &top.pcim_wdata[0], 64);
            else notice(kBus);
        }
        while (host.n_address && host.n_data) {
            const uint64_t address = host.address[0];
            uint32_t data[16];
            std::memcpy(data, host.data[0], 64);
            std::memmove(host.address, host.address + 1, sizeof host.address - sizeof host.address[0]);
            std::memmove(host.data, host.data + 1, sizeof host.data - sizeof host.data[0]);
            host.n_address--, host.n_data--;
            record(address, data);
        }
    }

    std::vector<uint32_t> responses;
    uint32_t script_response(uint32_t pc) const { return pc < responses.size() ? responses[pc] : 0; }

    // What the ports say, where a valid says that they say something.
    uint32_t outputs() {
        uint64_t h = 0xCBF29CE484222325ull;
        auto add = [&h](uint64_t value) { h = (h ^ value) * 0x9E3779B97F4A7C15ull, h ^= h >> 29; };
        add(top.vled | uint64_t(top.irq) << 16 | uint64_t(top.ocl_awready) << 17 | uint64_t(top.ocl_wready) << 18 |
            uint64_t(top.ocl_bvalid) << 19 | uint64_t(top.ocl_arready) << 20 | uint64_t(top.ocl_rvalid) << 21 |
            uint64_t(top.pcis_awready) << 22 | uint64_t(top.pcis_wready) << 23 | uint64_t(top.pcis_bvalid) << 24 |
            uint64_t(top.pcim_awvalid) << 25 | uint64_t(top.pcim_wvalid) << 26 | uint64_t(top.sda_bvalid) << 27 |
            uint64_t(top.sda_rvalid) << 28 | uint64_t(top.sda_awready) << 29 | uint64_t(top.sda_wready) << 30 |
            uint64_t(top.sda_arready) << 31 | uint64_t(top.pcis_arready) << 32 | uint64_t(top.pcis_rvalid) << 33);
        if (top.ocl_bvalid) add(top.ocl_bresp);
        if (top.ocl_rvalid) add(top.ocl_rdata | uint64_t(top.ocl_rresp) << 32);
        if (top.sda_bvalid) add(top.sda_bresp);
        if (top.sda_rvalid) add(top.sda_rdata | uint64_t(top.sda_rresp) << 32);
        if (top.pcis_bvalid) add(top.pcis_bid | uint64_t(top.pcis_bresp) << 16);
        if (top.pcim_awvalid) add(top.pcim_awaddr), add(top.pcim_awlen | top.pcim_awsize << 8 | top.pcim_awid << 16);
        if (top.pcim_wvalid) {
            for (int i = 0; i < 16; i++) add(top.pcim_wdata[i]);
            add(top.pcim_wstrb);
        }
        return uint32_t(h ^ h >> 32);
    }

    void save() {
        states.emplace_back(root_size());
        std::memcpy(states.back().data(), root(), root_size());
        hosts.push_back(host);
    }

    bool finished() const { return script[host.pc].code == kEnd; }

    // The run without upset. Returns its cycles, or 0 where it comes to no end.
    uint32_t run_golden() {
        while (!finished()) {
            if (cycle % kSnapshots == 0) save();
            step();
            if (cycle > 200000 || seen) return 0;
        }
        return cycle;
    }

    void go_to(uint32_t target) {
        const uint32_t index = target / kSnapshots;
        std::memcpy(static_cast<void *>(root()), states[index].data(), root_size());
        host = hosts[index];
        cycle = index * kSnapshots;
        while (cycle < target) step();
    }

    Result run(uint32_t cell, uint32_t word, uint32_t bit, uint32_t at) {
        golden = false;
        seen = 0, result = {};
        go_to(at);
        seen = 0, result = {};
        // A register takes the upset with its next edge, a memory before it.
        flip(cell, word, bit);
        if (!cells[cell].depth) {
            step();
            flip(cell, word, bit);
        }
        const uint32_t stuck = uint32_t(hashes.size()) + kOvertime, limit = std::min(at + window, stuck);
        bool same = false;
        while (!finished() && cycle < limit) {
            if (cycle % kSnapshots == 0 && cycle / kSnapshots < states.size()) {
                const uint32_t index = cycle / kSnapshots;
                if (!std::memcmp(&host, &hosts[index], sizeof host) &&
                    !std::memcmp(root(), states[index].data(), root_size())) {
                    same = true;
                    break;
                }
            }
            step();
        }
        if (!finished() && !same && limit == stuck) notice(kBus);
        result.seen = seen;
        result.latent = !same && !result.differs;
        return result;
    }
};

}  // namespace

extern "C" {
Campaign *seu_new(const Op *script, uint32_t count) {
    auto *campaign = new Campaign;
    campaign->script.assign(script, script + count);
    return campaign;
}
void seu_free(Campaign *campaign) {
    campaign->top.final();
    delete campaign;
}
uint32_t seu_golden(Campaign *campaign) { return campaign->run_golden(); }
uint32_t seu_cycle(Campaign *campaign) { return campaign->cycle; }
uint32_t seu_pc(Campaign *campaign) { return campaign->host.pc; }
uint32_t seu_seen(Campaign *campaign) { return campaign->seen; }
uint32_t seu_state_bytes(Campaign *campaign) { return uint32_t(campaign->root_size()); }
uint32_t seu_marks(Campaign *campaign, uint32_t *names, uint32_t *cycles, uint32_t most) {
    uint32_t n = 0;
    for (; n < most && n < campaign->mark_names.size(); n++)
        names[n] = campaign->mark_names[n], cycles[n] = campaign->mark_cycles[n];
    return n;
}
void seu_verdicts(Campaign *campaign, uint8_t *verdicts, uint8_t *controls) {
    std::memcpy(verdicts, campaign->verdicts, kKeys), std::memcpy(controls, campaign->controls, kKeys);
}
uint32_t seu_reads(Campaign *campaign, uint32_t *values, uint32_t most) {
    uint32_t n = 0;
    for (; n < most && n < campaign->reads.size(); n++) values[n] = campaign->reads[n];
    return n;
}
void seu_tripped(Campaign *campaign, uint8_t *tripped) {
    std::memcpy(tripped, campaign->tripped.data(), campaign->tripped.size());
}
void seu_run(Campaign *campaign, const uint32_t *flips, Result *results, uint32_t count, uint32_t window) {
    campaign->window = window;
    for (uint32_t i = 0; i < count; i++, flips += 4) results[i] = campaign->run(flips[0], flips[1], flips[2], flips[3]);
}
}
