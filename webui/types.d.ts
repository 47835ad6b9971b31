/** What the page's scripts pass around, for `tsc --checkJs`; no browser loads this file. */

interface Car {
  now_ns: number;
  state: string;
  faults?: string[];
  latched_fault?: string | null;
  sentence: string;
  not_ready: string[];
  driver: string;
  speed_cap_frac: number;
  policy: string;
  policy_hash: string;
  policy_note: string;
  control_rate_hz: number;
  camera_rate_hz: number;
  camera_note: string;
  frame_to_wire_p50_ms: number;
  frame_to_wire_p99_ms: number;
  missed_decisions: number;
  decisions: number;
  steering_frac: number;
  throttle_frac: number;
  battery_v: number | null;
  board_note: string;
  hil: boolean;
  action_names?: string[];
  action_probabilities?: number[];
  trim_us?: number;
  calibrating: string;
  is_storing: boolean;
  steering_us: number;
  throttle_us: number;
  is_calibrated: boolean;
  calibration_version: number;
}

interface Crossing { lap: number; time_s: number; by_hand?: boolean; missed?: number }

interface Thing { x_m: number; y_m: number; heading_rad: number; length_m: number; width_m: number }

interface World {
  track: string;
  x_m: number;
  y_m: number;
  heading_rad: number;
  speed_mps: number;
  steering_rad: number;
  offset_m: number;
  servo_pulse_us: number;
  esc_pulse_us: number;
  crashed_into: string;
  things: Thing[];
  off_track: boolean;
  crashed: boolean;
  lap_time_s: number | null;
  lap_count: number;
  laps: Crossing[];
  best: Crossing | null;
  trail?: { points: number[][]; end: number };
}

interface LapsDocument {
  lap_time_s: number | null;
  lap_count: number;
  laps: Crossing[];
  best: Crossing | null;
  source?: "world" | "marker" | "hand";
  remarks?: string[];
  target_laps?: number | null;
  time_limit_s?: number | null;
  by_hand?: boolean;
  note?: string;
}

interface Lease { driver: string; name: string; mine: boolean; asked_by: { source: string; name: string }[] }

interface Host { cpu_frac: number | null; temperature_c: number | null; memory_frac: number | null; disk_free_bytes: number | null }

interface Recording { state: string; run: string; size_bytes: number; problem: string }

interface StatusDocument {
  server_ns: number;
  car: Car | null;
  silence: string;
  world: World | null;
  lease?: Lease;
  laps?: LapsDocument | null;
  models?: string;
  host?: Host | null;
  recorder?: Recording | null;
}

interface TickOfFrame {
  frame_number: number;
  action_index: number;
  action_probabilities: number[];
  policy_output: number[];
  action: { steering_frac: number; throttle_frac: number } | null;
  sent: { steering_frac: number; throttle_frac: number };
  state: string;
}

interface PictureHeader {
  frame: number;
  age_ms: number;
  server_ns: number;
  record: TickOfFrame | null;
  input: { width: number; height: number; channels: number } | null;
}

interface Answer { ok: boolean; error?: string; server_ns?: number }

interface Tile { value: string; more: string; bad: boolean }

interface Listed {
  key: string;
  name: string;
  active: boolean;
  policy_hash?: string | null;
}

interface Layout { track: string; length_m: number; center: number[][]; inner: number[][]; outer: number[][] }

interface SimulatorDocument {
  track: string;
  preparing: string;
  problem: string;
  faults: Record<string, number>;
  host_faults: Record<string, number> | null;
  host_silence: string;
}

interface SettingField {
  name: string;
  value: any;
  is_shipped: boolean;
  bounds: { kind: string; default: any; optional: boolean; lowest: number | null; highest: number | null; choices: (string | number)[]; longest: number | null };
}

interface SettingsDocument {
  file: string;
  revision: string;
  problem: string;
  fields: SettingField[];
  needs_restart: boolean | null;
  is_hil: boolean;
}

interface SteeringNumbers { left_us: number; center_us: number; right_us: number; left_rad: number; right_rad: number }

interface ThrottleNumbers {
  reverse_us: number;
  neutral_us: number;
  forward_us: number;
  forward_dead_band_us: number;
  reverse_dead_band_us: number;
  esc: { reverse_mode: string; brakes_on_first_pull: boolean };
}

interface CalibrationNumbers {
  steering: SteeringNumbers;
  throttle: ThrottleNumbers;
  speed_table: { points: [number, number][] } | null;
}

interface SavedNumbers extends CalibrationNumbers { version: number; saved_by: string; saved_at: string }

/** Numbers in the making, and what their steps make of them. */
interface Draft {
  calibration: CalibrationNumbers;
  problem: string;
  reach_us: Record<string, [number, number]>;
  mark_us: Record<string, number>;
  trial_us: { forward: number; back: number };
}

interface Choice { value: string; label: string; note?: string }

interface Step {
  id: string;
  part: string;
  title: string;
  prompt: string;
  answer: string;
  actuator: string;
  field: string;
  angle_field: string;
  hint: string;
  choices: Choice[];
}
