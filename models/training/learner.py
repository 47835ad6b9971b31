"""PPO as Stable-Baselines3 has it, with what knowing the truth and a second process make possible.

Against its parent: actor and critic have a gradient limit each; advantages are brought to one scale over all
decisions of an update, not over each batch (where failures are rare, a batch without one would blow up
noise); the critic can learn alone at first; a part that is thrown away guesses the truth from what the
actor sees; and the cars may drive in another process meanwhile.
"""

import time
from typing import Any

import torch
from stable_baselines3 import PPO
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecEnv
from torch import nn

from models.training.ahead import Ahead

CRITIC_EPOCHS = 6  # of its own, before those with the actor


class Learner(PPO):  # type: ignore[misc]
    """PPO on cars here, or on cars in another process."""

    guess_share = 0.0
    critic_first = 0
    """Decisions before the actor learns."""
    driving: Ahead | None = None
    minutes: float | None = None
    """How long to learn; the rest of the way counts by this or by decisions, whichever is shorter."""
    began_s = 0.0
    """When, on the clock of time.monotonic."""

    @property
    def is_late(self) -> bool:
        """True when the time is up."""
        return self.minutes is not None and time.monotonic() - self.began_s > 60 * self.minutes

    def _update_current_progress_remaining(self, num_timesteps: int, total_timesteps: int) -> None:
        super()._update_current_progress_remaining(num_timesteps, total_timesteps)
        if self.minutes is not None:
            left = 1 - (time.monotonic() - self.began_s) / (60 * self.minutes)
            steps_left = 1 - num_timesteps / total_timesteps
            self._current_progress_remaining: float = max(0.0, min(left, steps_left))

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "driving"]

    def collect_rollouts(
        self, env: VecEnv, callback: BaseCallback, rollout_buffer: RolloutBuffer, n_rollout_steps: int
    ) -> bool:
        """Fill the buffer; from another process, whose cars then go on with the weights of this moment."""
        if self.driving is None:
            return bool(super().collect_rollouts(env, callback, rollout_buffer, n_rollout_steps))
        self.policy.set_training_mode(False)
        rollout_buffer.reset()
        callback.on_rollout_start()
        if not self.driving.is_driving:
            self.driving.go(self.policy.actor)
        driven = self.driving.take()
        rollout_buffer.observations["image"][:] = driven.images
        rollout_buffer.observations["state"][:] = driven.states
        self.driving.go(self.policy.actor)
        rollout_buffer.actions[:, :, 0] = driven.actions
        rollout_buffer.log_probs[:] = driven.log_probs
        rollout_buffer.episode_starts[:] = driven.starts
        with torch.no_grad():
            rollout_buffer.values[:] = self.policy.critic(torch.from_numpy(driven.states)).squeeze(2).numpy()
            last = self.policy.critic(torch.from_numpy(driven.last_state))
            for moment, car, state in driven.cut_short:
                value = self.policy.critic(torch.from_numpy(state))
                driven.rewards[moment, car] += self.gamma * float(value)
        rollout_buffer.rewards[:] = driven.rewards
        rollout_buffer.pos, rollout_buffer.full = n_rollout_steps, True
        rollout_buffer.compute_returns_and_advantage(last_values=last, dones=driven.over)
        for infos in driven.infos:
            self.num_timesteps += env.num_envs
            callback.update_locals({"infos": infos})
            if not callback.on_step():
                return False
        callback.on_rollout_end()
        return True

    def train(self) -> None:
        """Learn from what was collected."""
        policy: Any = self.policy
        policy.set_training_mode(True)
        self._update_learning_rate(policy.optimizer)
        clip = self.clip_range(self._current_progress_remaining)
        buffer = self.rollout_buffer
        advantages = buffer.advantages
        buffer.advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
        self._teach_critic()
        if self.num_timesteps <= self.critic_first:
            return
        critic = [*policy.critic.parameters(), *policy.guess.parameters()]
        for _ in range(self.n_epochs):
            for data in buffer.get(self.batch_size):
                values, log_prob, entropy, wrong = policy.learn_from(
                    data.observations, data.actions.long().flatten()
                )
                log_ratio = log_prob - data.old_log_prob
                ratio = log_ratio.exp()
                drift = float((ratio - 1 - log_ratio).detach().mean())
                if self.target_kl is not None and drift > 1.5 * self.target_kl:
                    return
                limited = torch.clamp(ratio, 1 - clip, 1 + clip)
                gain = torch.min(data.advantages * ratio, data.advantages * limited).mean()
                loss = (
                    self.vf_coef * nn.functional.mse_loss(values, data.returns)
                    + self.guess_share * wrong
                    - self.ent_coef * entropy.mean()
                    - gain
                )
                policy.optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(policy.actor.parameters(), self.max_grad_norm)
                nn.utils.clip_grad_norm_(critic, self.max_grad_norm)
                policy.optimizer.step()
            self._n_updates += 1

    def _teach_critic(self) -> None:
        """Let the critic learn alone, which costs little: its network is small."""
        buffer, policy = self.rollout_buffer, self.policy
        states = torch.from_numpy(buffer.observations["state"]).flatten(0, 1)
        returns = torch.from_numpy(buffer.returns).flatten()
        for _ in range(CRITIC_EPOCHS):
            for chosen in torch.randperm(len(returns)).split(self.batch_size):
                wrong = nn.functional.mse_loss(policy.critic(states[chosen]).squeeze(1), returns[chosen])
                policy.optimizer.zero_grad()
                (self.vf_coef * wrong).backward()
                nn.utils.clip_grad_norm_(policy.critic.parameters(), self.max_grad_norm)
                policy.optimizer.step()
