/** What the page's scripts pass around, for `tsc --checkJs`; no browser loads this file. */

interface Car {
  now_ns: number;
  state: string;
  faults?: string[];
  latched_fault?: string | null;
  sentence: string;
  not_ready: string[];
  driver: string;
  driver_name: string;
  time_left_s: number;
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
  trim_steers_right?: boolean;
  calibrating: string;
  is_storing: boolean;
  steering_us: number;
  throttle_us: number;
  is_calibrated: boolean;
  calibration_name: string;
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
  camera: { exposure_ms: number | null; gain: number | null; white_balance_k: number | null } | null;
  is_camera_saved: boolean;
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

/** What `element` takes as a child; nothing where it is empty. */
type Child = Node | string | null | undefined | Child[];

interface LoadedCar { state: string; policy: string; policy_hash: string; policy_note: string }

interface Action { steering_deg: number; speed_mps: number }

interface ActionSpace { type: string; points: Action[] }

/** A model of the list. What its report or metadata says is missing of a damaged one. */
interface Model extends Listed {
  built_in: boolean;
  problem: string;
  calibration_drive?: boolean;
  sensors?: string[];
  training_algorithm?: string;
  action_space_type?: string;
  action_space?: ActionSpace;
  action_count?: number;
  control_rate_hz?: number;
  infer_median_ms?: number;
  parameters?: number;
  source_name?: string;
  checked_at?: string;
  warnings?: string[];
}

interface RemovedModel { removed: string; key: string; name: string; removed_at_s: number }

interface PictureAnswer extends Action { picture: string; index: number }

interface Layer { operator: string; output_shape: (number | null)[]; mmac: number; parameters: number }

interface CheckReport {
  kind: string;
  sensors: string[];
  action_units: string;
  action_space: ActionSpace;
  actions_used: number;
  control_rate_hz: number;
  infer_median_ms: number;
  infer_p99_ms: number;
  parameters: number;
  mmac: number;
  peak_memory_mb: number;
  inputs: { name: string; shape: (number | null)[]; meaning: string }[];
  layers: Layer[];
  responses: PictureAnswer[];
  source_name: string;
  source_bytes: number;
  checked_at: string;
  neural_network: string;
  simplified: string[];
  ignored: string[];
  notes: string[];
}

interface Int8 { accepted: boolean; chosen: boolean; made_here: boolean; float_ms: number | null; int8_ms: number | null; objections: string[] }

interface FullModel extends Model {
  report: CheckReport | null;
  measuring: { stage: string; share: number; error: string } | null;
  int8: Int8 | null;
}

/** What the dry run answered, sorted. */
interface DryRun {
  blank: PictureAnswer | null;
  frames: { index: number; seen: PictureAnswer; mirrored: PictureAnswer | null }[];
  noise: PictureAnswer[];
  chosen: Map<number, number>;
}

/** An upload as the server tells it. */
interface UploadState {
  id: string;
  name: string;
  file_name: string;
  size_bytes: number | null;
  state: string;
  stage: string;
  share: number;
  error: string;
  responses: Record<string, PictureAnswer[]>;
  model: Model | null;
  new: boolean;
}

interface Sending { done: Promise<UploadState | null>; abort: () => void }

/** An upload that this page sends, until the server knows of it. */
interface QueuedUpload {
  id: string;
  name: string;
  file: File;
  state: string;
  share: number;
  size_bytes: number;
  error: string;
  crowded: boolean;
  sending: { abort: () => void } | null;
  abandoned: string;
}

type ShownUpload = UploadState | QueuedUpload;

interface UploadActs { takeBack: (upload: any) => void; choose: (upload: any, range: string) => void; open: (key: string) => void }

interface QueueIo {
  room: (bytes: number) => Promise<{ error: string; crowded: boolean } | null>;
  send: (file: File, id: string, progress: (share: number) => void) => Sending;
  outcome: (id: string) => Promise<UploadState | null>;
  takeBack: (id: string) => Promise<unknown>;
  draw: () => string;
}

interface WebhookStatus {
  waiting: number;
  delivered: number;
  dropped: number;
  problem: string;
  host: string;
  delivered_ago_s: number | null;
  last_problem: string;
  failed_ago_s: number | null;
}

interface WebhookDocument {
  status: WebhookStatus | null;
  is_fixed: boolean;
}

interface RunRow {
  name: string;
  started_wall_ns: number;
  clock_known: boolean;
  duration_s: number;
  driven_s: number;
  policy: string;
  modes: string[];
  laps_s: number[];
  laps_source: string;
  best_lap_s: number | null;
  latched_fault: string;
  size_bytes: number;
  is_hil: boolean;
  is_complete: boolean;
  is_mending: boolean;
  lacks: string;
  note: string;
  starred: boolean;
}

interface RunList {
  runs: RunRow[];
  removed: string[];
  recorder: Recording;
  used_bytes: number;
  quota_bytes: number;
  free_bytes: number;
}

interface RunLap { lap: number; time_s: number; since_s: number; until_s: number }

interface RunEvent { t_s: number; kind: string; words: string; source: string }

interface RunDetails {
  run: RunRow;
  policy_hash: string;
  calibration_version: number;
  drivers: string[];
  ticks: number;
  decisions: number;
  pictures: number;
  seconds: number;
  laps: RunLap[];
  events: RunEvent[];
  states: { state: string; since_s: number; until_s: number }[];
  has_pictures: boolean;
  has_truth: boolean;
  track: Layout | null;
}

/** The least and the most of each piece of time; null where nothing was recorded. */
interface Curve { low: (number | null)[]; high: (number | null)[] }

interface DrivenLine { t_s: number[]; x_m: number[]; y_m: number[]; speed_mps: number[] }

interface RunPart { curves: { steering: Curve; throttle: Curve; speed_mps: Curve | null }; line: DrivenLine | null }

interface Moment {
  state: string;
  steering_frac: number;
  throttle_frac: number;
  speed_mps: number | null;
  x_m: number | null;
  y_m: number | null;
  heading_rad: number | null;
}

interface Film { state: string; share: number; rests: boolean; error: string }

interface WifiNetwork {
  ssid: string;
  signal_percent: number | null;
  security: string;
  is_joined: boolean;
  is_known: boolean;
  obstacle: string;
}

interface WifiSight { device: string; is_radio_on: boolean; joined: string; networks: WifiNetwork[]; hotspot: { is_on: boolean; ssid: string } }

interface WifiDocument { problem: string; sight: WifiSight | null; change: { state: string; words: string }; addresses: string[] }

interface Stick { id: string; name: string; problem: string; archives: { path: string; size_bytes: number }[]; has_more: boolean }

interface SticksDocument { sight: { sticks: Stick[]; unmounted: string[] }; problem: string }
