"""Vision, generative modelling and reinforcement learning as people write them in their own repositories, small. ROWS: as in unseen_models.py."""
import copy
import math
from collections import OrderedDict
from functools import partial
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from einops import rearrange, reduce, repeat
from einops.layers.torch import Rearrange
from unseen_written import pictures, translated, segmented, register
from zoo_transformers import floats, ints

ROWS = {}
written = register(ROWS, "vision-")


def only(size, channels=3): return lambda b, n, device: dict(x=floats(b, channels, size, size, device=device))
def clips(t, size): return lambda b, n, device: dict(x=floats(b, 3, t, size, size, device=device), y=ints(b, device=device))
def bytes_(*shape, device): return torch.zeros(shape, dtype=torch.uint8) if device != "cuda" else torch.empty(shape, dtype=torch.uint8, device=device)


# ---------------------------------------------------------------- reinforcement learning

def transitions(b, n, device):
    return dict(obs=floats(b, 4, 84, 84, device=device), actions=ints(b, 1, device=device), rewards=floats(b, 1, device=device), next_obs=floats(b, 4, 84, 84, device=device), dones=floats(b, 1, device=device))


def vectors(b, n, device):
    return dict(obs=floats(b, 17, device=device), actions=floats(b, 6, device=device), rewards=floats(b, device=device), next_obs=floats(b, 17, device=device), dones=floats(b, device=device))


@written(transitions)
class DuelingDQN(nn.Module):
    """double and dueling, a target network under no_grad"""
    class Net(nn.Module):
        def __init__(self, num_actions=6):
            super().__init__()
            self.features = nn.Sequential(nn.Conv2d(4, 32, kernel_size=8, stride=4), nn.ReLU(), nn.Conv2d(32, 64, kernel_size=4, stride=2), nn.ReLU(), nn.Conv2d(64, 64, kernel_size=3, stride=1), nn.ReLU())
            self.advantage = nn.Sequential(nn.Linear(3136, 512), nn.ReLU(), nn.Linear(512, num_actions))
            self.value = nn.Sequential(nn.Linear(3136, 512), nn.ReLU(), nn.Linear(512, 1))

        def forward(self, x):
            x = self.features(x / 255.0)
            x = x.view(x.size(0), -1)
            advantage = self.advantage(x)
            value = self.value(x)
            return value + advantage - advantage.mean(1, keepdim=True)

    def __init__(self):
        super().__init__()
        self.policy_net = DuelingDQN_Net()
        self.target_net = DuelingDQN_Net()
        self.target_net.load_state_dict(self.policy_net.state_dict())
        for p in self.target_net.parameters(): p.requires_grad = False
        self.gamma = 0.99

    def forward(self, obs, actions, rewards, next_obs, dones):
        q_values = self.policy_net(obs).gather(1, actions)
        with torch.no_grad():
            next_actions = self.policy_net(next_obs).max(1)[1].unsqueeze(1)
            next_q = self.target_net(next_obs).gather(1, next_actions)
            expected = rewards + self.gamma * next_q * (1 - dones)
        loss = F.smooth_l1_loss(q_values, expected.detach())
        return loss


DuelingDQN_Net = DuelingDQN.Net


class NoisyLinear(nn.Module):
    def __init__(self, in_features, out_features, std_init=0.5):
        super().__init__()
        self.in_features, self.out_features, self.std_init = in_features, out_features, std_init
        self.weight_mu = nn.Parameter(torch.empty(out_features, in_features))
        self.weight_sigma = nn.Parameter(torch.empty(out_features, in_features))
        self.register_buffer("weight_epsilon", torch.empty(out_features, in_features))
        self.bias_mu = nn.Parameter(torch.empty(out_features))
        self.bias_sigma = nn.Parameter(torch.empty(out_features))
        self.register_buffer("bias_epsilon", torch.empty(out_features))
        self.reset_parameters()
        self.reset_noise()

    def reset_parameters(self):
        mu_range = 1 / math.sqrt(self.in_features)
        self.weight_mu.data.uniform_(-mu_range, mu_range)
        self.weight_sigma.data.fill_(self.std_init / math.sqrt(self.in_features))
        self.bias_mu.data.uniform_(-mu_range, mu_range)
        self.bias_sigma.data.fill_(self.std_init / math.sqrt(self.out_features))

    def _scale_noise(self, size):
        x = torch.randn(size, device=self.weight_mu.device)
        return x.sign().mul_(x.abs().sqrt_())

    def reset_noise(self):
        epsilon_in = self._scale_noise(self.in_features)
        epsilon_out = self._scale_noise(self.out_features)
        self.weight_epsilon.copy_(epsilon_out.outer(epsilon_in))
        self.bias_epsilon.copy_(epsilon_out)

    def forward(self, input):
        if self.training: return F.linear(input, self.weight_mu + self.weight_sigma * self.weight_epsilon, self.bias_mu + self.bias_sigma * self.bias_epsilon)
        return F.linear(input, self.weight_mu, self.bias_mu)


class RainbowNet(nn.Module):
    def __init__(self, atoms=51, action_space=6, hidden=256):
        super().__init__()
        self.atoms, self.action_space = atoms, action_space
        self.convs = nn.Sequential(nn.Conv2d(4, 32, 5, stride=5, padding=0), nn.ReLU(), nn.Conv2d(32, 64, 5, stride=5, padding=0), nn.ReLU())
        self.conv_output_size = 576
        self.fc_h_v = NoisyLinear(self.conv_output_size, hidden)
        self.fc_h_a = NoisyLinear(self.conv_output_size, hidden)
        self.fc_z_v = NoisyLinear(hidden, atoms)
        self.fc_z_a = NoisyLinear(hidden, action_space * atoms)

    def forward(self, x, log=False):
        x = self.convs(x)
        x = x.view(-1, self.conv_output_size)
        v = self.fc_z_v(F.relu(self.fc_h_v(x)))
        a = self.fc_z_a(F.relu(self.fc_h_a(x)))
        v, a = v.view(-1, 1, self.atoms), a.view(-1, self.action_space, self.atoms)
        q = v + a - a.mean(1, keepdim=True)
        if log: q = F.log_softmax(q, dim=2)
        else: q = F.softmax(q, dim=2)
        return q


@written(lambda b, n, device: dict(obs=bytes_(b, 4, 84, 84, device=device), actions=ints(b, device=device), rewards=floats(b, device=device), next_obs=bytes_(b, 4, 84, 84, device=device), dones=floats(b, device=device)))
class Rainbow(nn.Module):
    """C51's projection with index_add_, noisy layers"""
    def __init__(self):
        super().__init__()
        self.online_net, self.target_net = RainbowNet(), RainbowNet()
        for p in self.target_net.parameters(): p.requires_grad = False
        self.Vmin, self.Vmax, self.atoms, self.discount, self.n = -10.0, 10.0, 51, 0.99, 3
        self.register_buffer("support", torch.linspace(self.Vmin, self.Vmax, self.atoms))
        self.delta_z = (self.Vmax - self.Vmin) / (self.atoms - 1)

    def forward(self, obs, actions, rewards, next_obs, dones):
        states = obs.float().div_(255)
        next_states = next_obs.float().div_(255)
        bs = states.shape[0]
        log_ps = self.online_net(states, log=True)
        log_ps_a = log_ps.gather(1, actions.view(-1, 1, 1).expand(-1, 1, self.atoms)).squeeze(1)
        with torch.no_grad():
            pns = self.online_net(next_states)
            dns = self.support.expand_as(pns) * pns
            argmax = dns.sum(2).argmax(1)
            pns = self.target_net(next_states)
            pns_a = pns.gather(1, argmax.view(-1, 1, 1).expand(-1, 1, self.atoms)).squeeze(1)
            Tz = rewards.unsqueeze(1) + (1 - dones).unsqueeze(1) * (self.discount ** self.n) * self.support.unsqueeze(0)
            Tz = Tz.clamp(min=self.Vmin, max=self.Vmax)
            b = (Tz - self.Vmin) / self.delta_z
            l, u = b.floor().to(torch.int64), b.ceil().to(torch.int64)
            d_l = (u + (l == u).float() - b) * pns_a
            d_u = (b - l) * pns_a
            m = states.new_zeros(bs, self.atoms)
            offset = (torch.arange(bs, device=states.device) * self.atoms).unsqueeze(1).expand(bs, self.atoms)
            m.view(-1).index_add_(0, (l + offset).view(-1), d_l.view(-1))
            m.view(-1).index_add_(0, (u + offset).view(-1), d_u.view(-1))
        loss = -torch.sum(m * log_ps_a, 1)
        return loss.mean()


def layer_init(layer, std=math.sqrt(2), bias_const=0.0):
    torch.nn.init.orthogonal_(layer.weight, std)
    torch.nn.init.constant_(layer.bias, bias_const)
    return layer


@written(lambda b, n, device: dict(obs=floats(b, 4, 84, 84, device=device), actions=ints(b, device=device), logprobs=floats(b, device=device), advantages=floats(b, device=device), returns=floats(b, device=device), values=floats(b, device=device)))
class PPO_pixels(nn.Module):
    def __init__(self):
        super().__init__()
        self.network = nn.Sequential(layer_init(nn.Conv2d(4, 32, 8, stride=4)), nn.ReLU(), layer_init(nn.Conv2d(32, 64, 4, stride=2)), nn.ReLU(), layer_init(nn.Conv2d(64, 64, 3, stride=1)), nn.ReLU(),
                                     nn.Flatten(), layer_init(nn.Linear(64 * 7 * 7, 512)), nn.ReLU())
        self.actor = layer_init(nn.Linear(512, 6), std=0.01)
        self.critic = layer_init(nn.Linear(512, 1), std=1)

    def get_action_and_value(self, x, action):
        hidden = self.network(x / 255.0)
        logits = self.actor(hidden)
        logits = logits - logits.logsumexp(dim=-1, keepdim=True)
        probs = F.softmax(logits, dim=-1)
        logprob = logits.gather(-1, action.long().unsqueeze(-1)).squeeze(-1)
        entropy = -(logits * probs).sum(-1)
        return logprob, entropy, self.critic(hidden)

    def forward(self, obs, actions, logprobs, advantages, returns, values):
        newlogprob, entropy, newvalue = self.get_action_and_value(obs, actions)
        logratio = newlogprob - logprobs
        ratio = logratio.exp()
        with torch.no_grad():
            self.approx_kl = ((ratio - 1) - logratio).mean()
            self.clipfrac = ((ratio - 1.0).abs() > 0.1).float().mean()
        advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
        pg_loss1 = -advantages * ratio
        pg_loss2 = -advantages * torch.clamp(ratio, 1 - 0.1, 1 + 0.1)
        pg_loss = torch.max(pg_loss1, pg_loss2).mean()
        newvalue = newvalue.view(-1)
        v_loss_unclipped = (newvalue - returns) ** 2
        v_clipped = values + torch.clamp(newvalue - values, -0.1, 0.1)
        v_loss_clipped = (v_clipped - returns) ** 2
        v_loss_max = torch.max(v_loss_unclipped, v_loss_clipped)
        v_loss = 0.5 * v_loss_max.mean()
        entropy_loss = entropy.mean()
        loss = pg_loss - 0.01 * entropy_loss + v_loss * 0.5
        return loss


@written(lambda b, n, device: dict(obs=floats(b, 32, 17, device=device), actions=floats(b, 32, 6, device=device), old=floats(b, 32, device=device), adv=floats(b, 32, device=device), ret=floats(b, 32, device=device)))
class PPO_continuous(nn.Module):
    """separate tanh networks, a learnt log std that does not depend on the state, torch.distributions"""
    def __init__(self):
        super().__init__()
        self.critic = nn.Sequential(layer_init(nn.Linear(17, 256)), nn.Tanh(), layer_init(nn.Linear(256, 256)), nn.Tanh(), layer_init(nn.Linear(256, 1), std=1.0))
        self.actor_mean = nn.Sequential(layer_init(nn.Linear(17, 256)), nn.Tanh(), layer_init(nn.Linear(256, 256)), nn.Tanh(), layer_init(nn.Linear(256, 6), std=0.01))
        self.actor_logstd = nn.Parameter(torch.zeros(1, 6))

    def forward(self, obs, actions, old, adv, ret):
        obs, actions, old, adv, ret = obs.reshape(-1, 17), actions.reshape(-1, 6), old.reshape(-1), adv.reshape(-1), ret.reshape(-1)
        action_mean = self.actor_mean(obs)
        action_logstd = self.actor_logstd.expand_as(action_mean)
        action_std = torch.exp(action_logstd)
        probs = torch.distributions.Normal(action_mean, action_std, validate_args=False)
        logp, entropy, value = probs.log_prob(actions).sum(1), probs.entropy().sum(1), self.critic(obs)
        ratio = torch.exp(logp - old)
        surr1 = ratio * adv
        surr2 = torch.clamp(ratio, 0.8, 1.2) * adv
        actor_loss = -torch.min(surr1, surr2).mean()
        critic_loss = F.mse_loss(value.squeeze(-1), ret)
        return actor_loss + 0.5 * critic_loss - 0.01 * entropy.mean()


@written(vectors)
class SAC(nn.Module):
    class Q(nn.Module):
        def __init__(self, obs_dim=17, act_dim=6, hidden=(256, 256)):
            super().__init__()
            sizes = [obs_dim + act_dim] + list(hidden) + [1]
            layers = []
            for j in range(len(sizes) - 1):
                act = nn.ReLU if j < len(sizes) - 2 else nn.Identity
                layers += [nn.Linear(sizes[j], sizes[j + 1]), act()]
            self.q = nn.Sequential(*layers)

        def forward(self, obs, act):
            q = self.q(torch.cat([obs, act], dim=-1))
            return torch.squeeze(q, -1)

    class Actor(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.Sequential(nn.Linear(17, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU())
            self.mu_layer, self.log_std_layer, self.act_limit = nn.Linear(256, 6), nn.Linear(256, 6), 1.0

        def forward(self, obs):
            net_out = self.net(obs)
            mu = self.mu_layer(net_out)
            log_std = self.log_std_layer(net_out)
            log_std = torch.clamp(log_std, -20, 2)
            std = torch.exp(log_std)
            pi_action = mu + std * torch.randn_like(mu)
            logp_pi = (-((pi_action - mu) ** 2) / (2 * std ** 2) - log_std - math.log(math.sqrt(2 * math.pi))).sum(axis=-1)
            logp_pi -= (2 * (np.log(2) - pi_action - F.softplus(-2 * pi_action))).sum(axis=1)
            pi_action = torch.tanh(pi_action)
            pi_action = self.act_limit * pi_action
            return pi_action, logp_pi

    def __init__(self):
        super().__init__()
        self.pi, self.q1, self.q2 = SAC_Actor(), SAC_Q(), SAC_Q()
        self.q1_targ, self.q2_targ = copy.deepcopy(self.q1), copy.deepcopy(self.q2)
        for p in [*self.q1_targ.parameters(), *self.q2_targ.parameters()]: p.requires_grad = False
        self.log_alpha = nn.Parameter(torch.zeros(1))

    def forward(self, obs, actions, rewards, next_obs, dones):
        q1, q2 = self.q1(obs, actions), self.q2(obs, actions)
        alpha = self.log_alpha.exp().detach()
        with torch.no_grad():
            a2, logp_a2 = self.pi(next_obs)
            q_pi_targ = torch.min(self.q1_targ(next_obs, a2), self.q2_targ(next_obs, a2))
            backup = rewards + 0.99 * (1 - dones) * (q_pi_targ - alpha * logp_a2)
        loss_q = ((q1 - backup) ** 2).mean() + ((q2 - backup) ** 2).mean()
        pi, logp_pi = self.pi(obs)
        q_pi = torch.min(self.q1(obs, pi), self.q2(obs, pi))
        loss_pi = (alpha * logp_pi - q_pi).mean()
        loss_alpha = -(self.log_alpha * (logp_pi + -6.0).detach()).mean()
        return loss_q + loss_pi + loss_alpha


SAC_Q, SAC_Actor = SAC.Q, SAC.Actor


@written(vectors)
class TD3(nn.Module):
    class Critic(nn.Module):
        def __init__(self):
            super().__init__()
            self.l1, self.l2, self.l3 = nn.Linear(23, 256), nn.Linear(256, 256), nn.Linear(256, 1)
            self.l4, self.l5, self.l6 = nn.Linear(23, 256), nn.Linear(256, 256), nn.Linear(256, 1)

        def forward(self, state, action):
            sa = torch.cat([state, action], 1)
            q1 = F.relu(self.l1(sa))
            q1 = F.relu(self.l2(q1))
            q1 = self.l3(q1)
            q2 = F.relu(self.l4(sa))
            q2 = F.relu(self.l5(q2))
            q2 = self.l6(q2)
            return q1, q2

    class Actor(nn.Module):
        def __init__(self):
            super().__init__()
            self.l1, self.l2, self.l3 = nn.Linear(17, 256), nn.Linear(256, 256), nn.Linear(256, 6)

        def forward(self, state):
            a = F.relu(self.l1(state))
            a = F.relu(self.l2(a))
            return 1.0 * torch.tanh(self.l3(a))

    def __init__(self):
        super().__init__()
        self.actor, self.critic = TD3_Actor(), TD3_Critic()
        self.actor_target, self.critic_target = copy.deepcopy(self.actor), copy.deepcopy(self.critic)

    def forward(self, obs, actions, rewards, next_obs, dones):
        with torch.no_grad():
            noise = (torch.randn_like(actions) * 0.2).clamp(-0.5, 0.5)
            next_action = (self.actor_target(next_obs) + noise).clamp(-1.0, 1.0)
            target_Q1, target_Q2 = self.critic_target(next_obs, next_action)
            target_Q = torch.min(target_Q1, target_Q2)
            target_Q = rewards.unsqueeze(1) + (1 - dones).unsqueeze(1) * 0.99 * target_Q
        current_Q1, current_Q2 = self.critic(obs, actions)
        critic_loss = F.mse_loss(current_Q1, target_Q) + F.mse_loss(current_Q2, target_Q)
        return critic_loss


TD3_Critic, TD3_Actor = TD3.Critic, TD3.Actor


@written(lambda b, n, device: dict(x=floats(b, 17, 15, 15, device=device), mcts_probs=floats(b, 225, device=device), winner=floats(b, device=device)))
class AlphaZero(nn.Module):
    class Res(nn.Module):
        def __init__(self, num_channels):
            super().__init__()
            self.conv1 = nn.Conv2d(num_channels, num_channels, kernel_size=3, padding=1, bias=False)
            self.bn1 = nn.BatchNorm2d(num_channels)
            self.conv2 = nn.Conv2d(num_channels, num_channels, kernel_size=3, padding=1, bias=False)
            self.bn2 = nn.BatchNorm2d(num_channels)

        def forward(self, x):
            residual = x
            out = F.relu(self.bn1(self.conv1(x)))
            out = self.bn2(self.conv2(out))
            out += residual
            out = F.relu(out)
            return out

    def __init__(self):
        super().__init__()
        self.conv, self.bn = nn.Conv2d(17, 96, 3, padding=1), nn.BatchNorm2d(96)
        self.tower = nn.ModuleList([AlphaZero_Res(96) for _ in range(4)])
        self.act_conv1, self.act_bn, self.act_fc1 = nn.Conv2d(96, 4, 1), nn.BatchNorm2d(4), nn.Linear(4 * 225, 225)
        self.val_conv1, self.val_bn, self.val_fc1, self.val_fc2 = nn.Conv2d(96, 2, 1), nn.BatchNorm2d(2), nn.Linear(2 * 225, 64), nn.Linear(64, 1)

    def forward(self, x, mcts_probs, winner):
        x = F.relu(self.bn(self.conv(x)))
        for block in self.tower: x = block(x)
        x_act = F.relu(self.act_bn(self.act_conv1(x)))
        x_act = x_act.view(-1, 4 * 225)
        x_act = F.log_softmax(self.act_fc1(x_act), dim=1)
        x_val = F.relu(self.val_bn(self.val_conv1(x)))
        x_val = x_val.view(-1, 2 * 225)
        x_val = F.relu(self.val_fc1(x_val))
        x_val = torch.tanh(self.val_fc2(x_val))
        value_loss = F.mse_loss(x_val.view(-1), winner)
        policy_loss = -torch.mean(torch.sum(mcts_probs * x_act, 1))
        loss = value_loss + policy_loss
        return loss


AlphaZero_Res = AlphaZero.Res


@written(lambda b, n, device: dict(obs=floats(b, 12, 1, 42, 42, device=device), actions=ints(b, 12, device=device), rewards=floats(b, 12, device=device), hx=floats(1, b, 128, device=device).transpose(0, 1).contiguous()))
class DRQN(nn.Module):
    """convolutions over time folded into the batch, an LSTM written out, targets of the same network"""
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2, self.conv3 = nn.Conv2d(1, 32, 3, stride=2), nn.Conv2d(32, 32, 3, stride=2), nn.Conv2d(32, 32, 3, stride=2)
        self.w_ih, self.w_hh = nn.Parameter(torch.randn(512, 512) * 0.04), nn.Parameter(torch.randn(512, 128) * 0.08)
        self.b_ih, self.b_hh = nn.Parameter(torch.zeros(512)), nn.Parameter(torch.zeros(512))
        self.fc = nn.Linear(128, 5)

    def q(self, obs, h):
        batch, steps = obs.shape[:2]
        x = obs.reshape(-1, *obs.shape[2:])
        x = F.elu(self.conv1(x))
        x = F.elu(self.conv2(x))
        x = F.elu(self.conv3(x))
        x = x.view(batch, steps, -1)
        h, outputs = h.squeeze(0), []
        c = torch.zeros_like(h)
        for x_t in x.unbind(1):
            gates = F.linear(x_t, self.w_ih, self.b_ih) + F.linear(h, self.w_hh, self.b_hh)
            i, f, g, o = gates.chunk(4, 1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
            outputs.append(h)
        return self.fc(torch.stack(outputs, dim=1))

    def forward(self, obs, actions, rewards, hx):
        h = hx.transpose(0, 1).contiguous()
        q = self.q(obs, h)
        chosen = torch.gather(q[:, :-1], dim=2, index=actions[:, :-1].unsqueeze(2)).squeeze(2)
        max_next = q[:, 1:].detach().max(dim=2)[0]
        targets = rewards[:, :-1] + 0.99 * max_next
        td_error = chosen - targets
        mask = torch.ones_like(td_error)
        mask[:, :4] = 0
        masked_td_error = mask * td_error
        return (masked_td_error ** 2).sum() / mask.sum()


class GRUCell(nn.Module):
    """gates of both inputs by one linear each"""
    def __init__(self, input_size, hidden_size):
        super().__init__()
        self.x2h, self.h2h = nn.Linear(input_size, 3 * hidden_size), nn.Linear(hidden_size, 3 * hidden_size)
        self.reset_parameters(hidden_size)

    def reset_parameters(self, hidden_size):
        std = 1.0 / math.sqrt(hidden_size)
        for w in self.parameters(): w.data.uniform_(-std, std)

    def forward(self, x, hidden):
        gate_x = self.x2h(x)
        gate_h = self.h2h(hidden)
        i_r, i_i, i_n = gate_x.chunk(3, 1)
        h_r, h_i, h_n = gate_h.chunk(3, 1)
        resetgate = torch.sigmoid(i_r + h_r)
        inputgate = torch.sigmoid(i_i + h_i)
        newgate = torch.tanh(i_n + (resetgate * h_n))
        hy = newgate + inputgate * (hidden - newgate)
        return hy


@written(lambda b, n, device: dict(agent_qs=floats(b, 20, 5, 80, device=device), states=floats(b, 20, 120, device=device), actions=ints(b, 20, 5, 1, device=device), targets=floats(b, 20, 1, device=device)))
class QMIX(nn.Module):
    """hypernetworks give the weights of a monotonic mixer"""
    def __init__(self):
        super().__init__()
        self.n_agents, self.state_dim, self.embed_dim = 5, 120, 32
        self.fc1, self.rnn, self.fc2 = nn.Linear(80, 64), GRUCell(64, 64), nn.Linear(64, 9)
        self.hyper_w_1 = nn.Sequential(nn.Linear(self.state_dim, 64), nn.ReLU(), nn.Linear(64, self.embed_dim * self.n_agents))
        self.hyper_w_final = nn.Sequential(nn.Linear(self.state_dim, 64), nn.ReLU(), nn.Linear(64, self.embed_dim))
        self.hyper_b_1 = nn.Linear(self.state_dim, self.embed_dim)
        self.V = nn.Sequential(nn.Linear(self.state_dim, self.embed_dim), nn.ReLU(), nn.Linear(self.embed_dim, 1))

    def mixer(self, agent_qs, states):
        bs = agent_qs.size(0)
        states = states.reshape(-1, self.state_dim)
        agent_qs = agent_qs.view(-1, 1, self.n_agents)
        w1 = torch.abs(self.hyper_w_1(states))
        b1 = self.hyper_b_1(states)
        w1 = w1.view(-1, self.n_agents, self.embed_dim)
        b1 = b1.view(-1, 1, self.embed_dim)
        hidden = F.elu(torch.bmm(agent_qs, w1) + b1)
        w_final = torch.abs(self.hyper_w_final(states))
        w_final = w_final.view(-1, self.embed_dim, 1)
        v = self.V(states).view(-1, 1, 1)
        y = torch.bmm(hidden, w_final) + v
        return y.view(bs, -1, 1)

    def forward(self, agent_qs, states, actions, targets):
        mac_out = []
        h = self.fc1.weight.new(1, 64).zero_().unsqueeze(0).expand(agent_qs.size(0), self.n_agents, -1).reshape(-1, 64)
        for t in range(agent_qs.size(1)):
            x = F.relu(self.fc1(agent_qs[:, t].reshape(-1, 80)))
            h = self.rnn(x, h)
            q = self.fc2(h)
            mac_out.append(q.view(-1, self.n_agents, 9))
        mac_out = torch.stack(mac_out, dim=1)
        chosen_action_qvals = torch.gather(mac_out, dim=3, index=actions).squeeze(3)
        q_tot = self.mixer(chosen_action_qvals, states)
        td_error = q_tot - targets.detach()
        return (td_error ** 2).mean()


@written(lambda b, n, device: dict(states=floats(b, 20, 17, device=device), actions=floats(b, 20, 6, device=device), rtg=floats(b, 20, 1, device=device), timesteps=ints(b, 20, device=device)))
class DecisionTransformer(nn.Module):
    class Block(nn.Module):
        def __init__(self, h=128, T=60, heads=4):
            super().__init__()
            self.n_heads = heads
            self.q_net, self.k_net, self.v_net, self.proj_net = nn.Linear(h, h), nn.Linear(h, h), nn.Linear(h, h), nn.Linear(h, h)
            self.att_drop, self.proj_drop = nn.Dropout(0.1), nn.Dropout(0.1)
            self.mlp = nn.Sequential(nn.Linear(h, 4 * h), nn.GELU(), nn.Linear(4 * h, h), nn.Dropout(0.1))
            self.ln1, self.ln2 = nn.LayerNorm(h), nn.LayerNorm(h)
            self.register_buffer("mask", torch.tril(torch.ones((T, T))).view(1, 1, T, T))

        def attention(self, x):
            B, T, C = x.shape
            N, D = self.n_heads, C // self.n_heads
            q = self.q_net(x).view(B, T, N, D).transpose(1, 2)
            k = self.k_net(x).view(B, T, N, D).transpose(1, 2)
            v = self.v_net(x).view(B, T, N, D).transpose(1, 2)
            weights = q @ k.transpose(2, 3) / math.sqrt(D)
            weights = weights.masked_fill(self.mask[..., :T, :T] == 0, float("-inf"))
            normalized_weights = F.softmax(weights, dim=-1)
            attention = self.att_drop(normalized_weights @ v)
            attention = attention.transpose(1, 2).contiguous().view(B, T, N * D)
            return self.proj_drop(self.proj_net(attention))

        def forward(self, x):
            x = x + self.attention(x)
            x = self.ln1(x)
            x = x + self.mlp(x)
            x = self.ln2(x)
            return x

    def __init__(self):
        super().__init__()
        h = self.h_dim = 128
        self.transformer = nn.Sequential(*[DT_Block() for _ in range(3)])
        self.embed_ln, self.embed_timestep = nn.LayerNorm(h), nn.Embedding(1000, h)
        self.embed_rtg, self.embed_state, self.embed_action = nn.Linear(1, h), nn.Linear(17, h), nn.Linear(6, h)
        self.predict_rtg, self.predict_state, self.predict_action = nn.Linear(h, 1), nn.Linear(h, 17), nn.Sequential(nn.Linear(h, 6), nn.Tanh())

    def forward(self, states, actions, rtg, timesteps):
        B, T, _ = states.shape
        time_embeddings = self.embed_timestep(timesteps)
        state_embeddings = self.embed_state(states) + time_embeddings
        action_embeddings = self.embed_action(actions) + time_embeddings
        returns_embeddings = self.embed_rtg(rtg) + time_embeddings
        h = torch.stack((returns_embeddings, state_embeddings, action_embeddings), dim=1).permute(0, 2, 1, 3).reshape(B, 3 * T, self.h_dim)
        h = self.embed_ln(h)
        h = self.transformer(h)
        h = h.reshape(B, T, 3, self.h_dim).permute(0, 2, 1, 3)
        return_preds = self.predict_rtg(h[:, 2])
        state_preds = self.predict_state(h[:, 2])
        action_preds = self.predict_action(h[:, 1])
        return F.mse_loss(action_preds, actions, reduction="mean")


DT_Block = DecisionTransformer.Block


class NormGRU(nn.Module):
    def __init__(self, inp_size, size, update_bias=-1):
        super().__init__()
        self._size, self._update_bias = size, update_bias
        self._layer, self._norm = nn.Linear(inp_size + size, 3 * size, bias=False), nn.LayerNorm(3 * size)

    def forward(self, inputs, state):
        parts = self._layer(torch.cat([inputs, state], -1))
        parts = self._norm(parts)
        reset, cand, update = torch.split(parts, [self._size] * 3, -1)
        reset = torch.sigmoid(reset)
        cand = torch.tanh(reset * cand)
        update = torch.sigmoid(update + self._update_bias)
        output = update * cand + (1 - update) * state
        return output


@written(lambda b, n, device: dict(obs=floats(b, 10, 3, 32, 32, device=device), actions=floats(b, 10, 4, device=device), rewards=floats(b, 10, device=device)))
class RSSM(nn.Module):
    """a recurrent state-space world model (Dreamer): a GRU with a layer norm in a loop, KL between normals with free nats"""
    def __init__(self, stoch=30, deter=200, hidden=200):
        super().__init__()
        self.stoch, self.deter = stoch, deter
        self.encoder = nn.Sequential(nn.Conv2d(3, 32, 4, 2), nn.ReLU(), nn.Conv2d(32, 64, 4, 2), nn.ReLU(), nn.Conv2d(64, 128, 4, 2), nn.ReLU())
        self.img1, self.cell, self.img2, self.img3 = nn.Linear(stoch + 4, hidden), NormGRU(hidden, deter), nn.Linear(deter, hidden), nn.Linear(hidden, 2 * stoch)
        self.obs1, self.obs2 = nn.Linear(deter + 512, hidden), nn.Linear(hidden, 2 * stoch)
        self.dec_fc = nn.Linear(stoch + deter, 256)
        self.decoder = nn.Sequential(nn.ConvTranspose2d(256, 64, 5, 2), nn.ReLU(), nn.ConvTranspose2d(64, 32, 6, 2), nn.ReLU(), nn.ConvTranspose2d(32, 3, 6, 2))
        self.reward = nn.Sequential(nn.Linear(stoch + deter, 200), nn.ELU(), nn.Linear(200, 1))

    def stats(self, x):
        mean, std = torch.chunk(x, 2, dim=-1)
        std = F.softplus(std) + 0.1
        return dict(mean=mean, std=std, stoch=mean + std * torch.randn_like(std))

    def forward(self, obs, actions, rewards):
        B, T = obs.shape[:2]
        embed = self.encoder(obs.reshape(B * T, 3, 32, 32)).reshape(B, T, -1)
        state = dict(stoch=torch.zeros(B, self.stoch, device=obs.device), deter=torch.zeros(B, self.deter, device=obs.device))
        priors, posts = [], []
        for t in range(T):
            x = F.elu(self.img1(torch.cat([state["stoch"], actions[:, t]], -1)))
            deter = self.cell(x, state["deter"])
            prior = self.stats(self.img3(F.elu(self.img2(deter))))
            post = self.stats(self.obs2(F.elu(self.obs1(torch.cat([deter, embed[:, t]], -1)))))
            prior["deter"] = post["deter"] = deter
            priors.append(prior)
            posts.append(post)
            state = post
        prior = {k: torch.stack([p[k] for p in priors], dim=1) for k in priors[0]}
        post = {k: torch.stack([p[k] for p in posts], dim=1) for k in posts[0]}
        feat = torch.cat([post["stoch"], post["deter"]], -1)
        recon = self.decoder(self.dec_fc(feat).reshape(B * T, 256, 1, 1))
        recon = recon.reshape(B, T, 3, 32, 32)
        image_loss = 0.5 * ((recon - obs) ** 2).sum(dim=(2, 3, 4)).mean()
        reward_loss = 0.5 * ((self.reward(feat).squeeze(-1) - rewards) ** 2).mean()
        var_ratio = (post["std"] / prior["std"]).pow(2)
        t1 = ((post["mean"] - prior["mean"]) / prior["std"]).pow(2)
        kl = 0.5 * (var_ratio + t1 - 1 - var_ratio.log()).sum(-1)
        div = torch.clamp(kl.mean(), min=3.0)
        return div + image_loss + reward_loss


@written(lambda b, n, device: dict(obs=floats(b, 4, 42, 42, device=device), next_obs=floats(b, 4, 42, 42, device=device), actions=ints(b, device=device)))
class Curiosity(nn.Module):
    """ICM: inverse and forward models on shared features, embeddings of the action joined at each layer; and random network distillation"""
    def __init__(self):
        super().__init__()
        self.feature = nn.Sequential(*[m for i in range(4) for m in (nn.Conv2d(4 if i == 0 else 32, 32, 3, stride=2, padding=1), nn.ELU())], nn.Flatten(), nn.Linear(288, 256))
        self.inverse_net = nn.Sequential(nn.Linear(512, 256), nn.LeakyReLU(), nn.Linear(256, 6))
        self.residual = nn.ModuleList([nn.ModuleList([nn.Linear(262, 256), nn.Linear(262, 256)]) for _ in range(2)])
        self.forward_net_1, self.forward_net_2 = nn.Linear(262, 256), nn.Linear(262, 256)
        self.predictor = nn.Sequential(nn.Conv2d(1, 32, 8, 4), nn.LeakyReLU(), nn.Conv2d(32, 64, 4, 2), nn.LeakyReLU(), nn.Flatten(), nn.Linear(576, 256), nn.ReLU(), nn.Linear(256, 256))
        self.target = nn.Sequential(nn.Conv2d(1, 32, 8, 4), nn.LeakyReLU(), nn.Conv2d(32, 64, 4, 2), nn.LeakyReLU(), nn.Flatten(), nn.Linear(576, 256))
        for param in self.target.parameters(): param.requires_grad = False

    def forward(self, obs, next_obs, actions):
        action = F.one_hot(actions % 6, 6).float()
        encode_state, encode_next_state = self.feature(obs), self.feature(next_obs)
        pred_action = self.inverse_net(torch.cat((encode_state, encode_next_state), 1))
        pred = self.forward_net_1(torch.cat((encode_state, action), 1))
        for a, b in self.residual:
            h = F.leaky_relu(a(torch.cat((pred, action), 1)))
            h = b(torch.cat((h, action), 1))
            pred = h + pred
        pred = self.forward_net_2(torch.cat((pred, action), 1))
        forward_loss = F.mse_loss(pred, encode_next_state.detach())
        inverse_loss = F.cross_entropy(pred_action, actions % 6)
        last = next_obs[:, 3:4, :, :]
        rnd = F.mse_loss(self.predictor(last), self.target(last).detach(), reduction="none").mean(-1)
        mask = torch.rand(len(rnd), device=rnd.device)
        mask = (mask < 0.25).type(torch.float32)
        rnd = (rnd * mask).sum() / torch.max(mask.sum(), torch.tensor([1.0], device=rnd.device))
        return (inverse_loss + 10 * forward_loss + rnd).squeeze()


@written(transitions)
class IQN(nn.Module):
    """implicit quantiles: cosines of taus, the quantile Huber loss over all pairs"""
    def __init__(self):
        super().__init__()
        self.n_cos, self.N = 64, 8
        self.head = nn.Sequential(nn.Conv2d(4, 32, 8, stride=4), nn.ReLU(), nn.Conv2d(32, 64, 4, stride=2), nn.ReLU(), nn.Conv2d(64, 64, 3), nn.ReLU())
        self.register_buffer("pis", torch.FloatTensor([np.pi * i for i in range(1, self.n_cos + 1)]).view(1, 1, self.n_cos))
        self.cos_embedding, self.ff_1, self.ff_2 = nn.Linear(self.n_cos, 3136), nn.Linear(3136, 256), nn.Linear(256, 6)
        self.apply(self.weight_init)

    def weight_init(self, m):
        if isinstance(m, (nn.Linear, nn.Conv2d)): torch.nn.init.kaiming_normal_(m.weight)

    def calc_cos(self, batch_size, n_tau, device):
        taus = torch.rand(batch_size, n_tau, device=device).unsqueeze(-1)
        cos = torch.cos(taus * self.pis)
        return cos, taus

    def quantiles(self, inp):
        b = inp.shape[0]
        x = self.head(inp)
        x = x.view(b, -1)
        cos, taus = self.calc_cos(b, self.N, inp.device)
        cos = cos.view(b * self.N, self.n_cos)
        cos_x = torch.relu(self.cos_embedding(cos)).view(b, self.N, -1)
        x = (x.unsqueeze(1) * cos_x).view(b * self.N, -1)
        x = torch.relu(self.ff_1(x))
        return self.ff_2(x).view(b, self.N, 6), taus

    def forward(self, obs, actions, rewards, next_obs, dones):
        with torch.no_grad():
            Q_next, _ = self.quantiles(next_obs)
            action_indx = torch.argmax(Q_next.mean(dim=1), dim=1, keepdim=True)
            Q_next = Q_next.gather(2, action_indx.unsqueeze(-1).expand(-1, self.N, 1)).transpose(1, 2)
            Q_targets = rewards.unsqueeze(-1) + 0.99 * Q_next * (1.0 - dones.unsqueeze(-1))
        Q_expected, taus = self.quantiles(obs)
        Q_expected = Q_expected.gather(2, actions.unsqueeze(-1).expand(-1, self.N, 1))
        td_error = Q_targets - Q_expected
        huber_l = torch.where(td_error.abs() <= 1.0, 0.5 * td_error.pow(2), 1.0 * (td_error.abs() - 0.5 * 1.0))
        quantil_l = abs(taus - (td_error.detach() < 0).float()) * huber_l / 1.0
        loss = quantil_l.sum(dim=1).mean(dim=1)
        return loss.mean()


# ---------------------------------------------------------------- adversarial networks

class UnetSkipConnectionBlock(nn.Module):
    """X -------------------identity----------------------   |-- downsampling -- |submodule| -- upsampling --|"""
    def __init__(self, outer_nc, inner_nc, input_nc=None, submodule=None, outermost=False, innermost=False, norm_layer=nn.BatchNorm2d, use_dropout=False):
        super().__init__()
        self.outermost = outermost
        use_bias = norm_layer == nn.InstanceNorm2d
        if input_nc is None: input_nc = outer_nc
        downconv = nn.Conv2d(input_nc, inner_nc, kernel_size=4, stride=2, padding=1, bias=use_bias)
        downrelu, downnorm = nn.LeakyReLU(0.2, True), norm_layer(inner_nc)
        uprelu, upnorm = nn.ReLU(True), norm_layer(outer_nc)
        if outermost:
            upconv = nn.ConvTranspose2d(inner_nc * 2, outer_nc, kernel_size=4, stride=2, padding=1)
            model = [downconv] + [submodule] + [uprelu, upconv, nn.Tanh()]
        elif innermost:
            upconv = nn.ConvTranspose2d(inner_nc, outer_nc, kernel_size=4, stride=2, padding=1, bias=use_bias)
            model = [downrelu, downconv] + [uprelu, upconv, upnorm]
        else:
            upconv = nn.ConvTranspose2d(inner_nc * 2, outer_nc, kernel_size=4, stride=2, padding=1, bias=use_bias)
            down, up = [downrelu, downconv, downnorm], [uprelu, upconv, upnorm]
            model = down + [submodule] + up + [nn.Dropout(0.5)] if use_dropout else down + [submodule] + up
        self.model = nn.Sequential(*model)

    def forward(self, x):
        if self.outermost: return self.model(x)
        return torch.cat([x, self.model(x)], 1)


class NLayerDiscriminator(nn.Module):
    def __init__(self, input_nc, ndf=32, n_layers=2, norm_layer=nn.BatchNorm2d):
        super().__init__()
        kw, padw = 4, 1
        sequence = [nn.Conv2d(input_nc, ndf, kernel_size=kw, stride=2, padding=padw), nn.LeakyReLU(0.2, True)]
        nf_mult = 1
        for n in range(1, n_layers):
            nf_mult_prev, nf_mult = nf_mult, min(2 ** n, 8)
            sequence += [nn.Conv2d(ndf * nf_mult_prev, ndf * nf_mult, kernel_size=kw, stride=2, padding=padw, bias=False), norm_layer(ndf * nf_mult), nn.LeakyReLU(0.2, True)]
        nf_mult_prev, nf_mult = nf_mult, min(2 ** n_layers, 8)
        sequence += [nn.Conv2d(ndf * nf_mult_prev, ndf * nf_mult, kernel_size=kw, stride=1, padding=padw, bias=False), norm_layer(ndf * nf_mult), nn.LeakyReLU(0.2, True)]
        sequence += [nn.Conv2d(ndf * nf_mult, 1, kernel_size=kw, stride=1, padding=padw)]
        self.model = nn.Sequential(*sequence)

    def forward(self, input): return self.model(input)


def unet_generator(ngf=32):
    block = UnetSkipConnectionBlock(ngf * 8, ngf * 8, innermost=True)
    block = UnetSkipConnectionBlock(ngf * 8, ngf * 8, submodule=block, use_dropout=True)
    block = UnetSkipConnectionBlock(ngf * 4, ngf * 8, submodule=block)
    block = UnetSkipConnectionBlock(ngf * 2, ngf * 4, submodule=block)
    block = UnetSkipConnectionBlock(ngf, ngf * 2, submodule=block)
    return UnetSkipConnectionBlock(3, ngf, input_nc=3, submodule=block, outermost=True)


@written(translated(128))
class Pix2Pix(nn.Module):
    """the recursive U-Net and the patch discriminator; the generator's loss with the discriminator frozen"""
    def __init__(self):
        super().__init__()
        self.netG, self.netD = unet_generator(), NLayerDiscriminator(6)
        for p in self.netD.parameters(): p.requires_grad = False
        self.register_buffer("real_label", torch.tensor(1.0))

    def forward(self, x, y):
        fake_B = self.netG(x)
        fake_AB = torch.cat((x, fake_B), 1)
        pred_fake = self.netD(fake_AB)
        loss_G_GAN = F.binary_cross_entropy_with_logits(pred_fake, self.real_label.expand_as(pred_fake))
        loss_G_L1 = F.l1_loss(fake_B, y) * 100.0
        return loss_G_GAN + loss_G_L1


@written(translated(128))
class Pix2Pix_discriminator(nn.Module):
    """the other half of the step: fakes detached, instance norm"""
    def __init__(self):
        super().__init__()
        self.netG, self.netD = unet_generator(16), NLayerDiscriminator(6, 64, 3, nn.InstanceNorm2d)
        self.criterionGAN = nn.MSELoss()

    def forward(self, x, y):
        fake_B = self.netG(x)
        fake_AB = torch.cat((x, fake_B), 1)
        pred_fake = self.netD(fake_AB.detach())
        loss_D_fake = self.criterionGAN(pred_fake, torch.zeros_like(pred_fake))
        real_AB = torch.cat((x, y), 1)
        pred_real = self.netD(real_AB)
        loss_D_real = self.criterionGAN(pred_real, torch.ones_like(pred_real))
        return (loss_D_fake + loss_D_real) * 0.5


@written(only(32, 1))
class WGAN(nn.Module):
    """perceptrons on flat images, the critic's loss on detached fakes"""
    def __init__(self):
        super().__init__()
        self.img_shape, self.latent_dim = (1, 32, 32), 100

        def block(in_feat, out_feat, normalize=True):
            layers = [nn.Linear(in_feat, out_feat)]
            if normalize: layers.append(nn.BatchNorm1d(out_feat, 0.8))
            layers.append(nn.LeakyReLU(0.2, inplace=True))
            return layers

        self.generator = nn.Sequential(*block(self.latent_dim, 128, normalize=False), *block(128, 256), *block(256, 512), *block(512, 1024), nn.Linear(1024, int(np.prod(self.img_shape))), nn.Tanh())
        self.critic = nn.Sequential(nn.Linear(int(np.prod(self.img_shape)), 512), nn.LeakyReLU(0.2, inplace=True), nn.Linear(512, 256), nn.LeakyReLU(0.2, inplace=True), nn.Linear(256, 1))

    def G(self, z):
        img = self.generator(z)
        img = img.view(img.shape[0], *self.img_shape)
        return img

    def D(self, img):
        img_flat = img.view(img.shape[0], -1)
        return self.critic(img_flat)

    def forward(self, x):
        z = torch.randn(x.shape[0], self.latent_dim, device=x.device)
        fake_imgs = self.G(z).detach()
        loss_D = -torch.mean(self.D(x)) + torch.mean(self.D(fake_imgs))
        return loss_D


class EqualLinear(nn.Module):
    def __init__(self, in_dim, out_dim, lr_mul=1.0):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_dim, in_dim).div_(lr_mul))
        self.bias = nn.Parameter(torch.zeros(out_dim))
        self.scale, self.lr_mul = (1 / math.sqrt(in_dim)) * lr_mul, lr_mul

    def forward(self, input): return F.linear(input, self.weight * self.scale, bias=self.bias * self.lr_mul)


class EqualConv2d(nn.Module):
    def __init__(self, cin, cout, k, padding=0):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(cout, cin, k, k)), nn.Parameter(torch.zeros(cout))
        self.scale, self.padding = math.sqrt(2) / math.sqrt(cin * k * k), padding

    def forward(self, x): return F.conv2d(x, self.weight * self.scale, self.bias, padding=self.padding)


@written(translated(64))
class StyleGAN(nn.Module):
    """mapping with pixel norm, AdaIN, blurs as grouped convolutions of a buffer, noise, style mixing, minibatch stddev"""
    class Blur(nn.Module):
        def __init__(self, channel):
            super().__init__()
            weight = torch.tensor([[1, 2, 1], [2, 4, 2], [1, 2, 1]], dtype=torch.float32)
            weight = weight.view(1, 1, 3, 3)
            weight = weight / weight.sum()
            self.register_buffer("weight", weight.repeat(channel, 1, 1, 1))

        def forward(self, x): return F.conv2d(x, self.weight, padding=1, groups=x.shape[1])

    class Styled(nn.Module):
        def __init__(self, cin, cout, upsample=True):
            super().__init__()
            self.upsample, self.conv1, self.conv2 = upsample, EqualConv2d(cin, cout, 3, padding=1), EqualConv2d(cout, cout, 3, padding=1)
            self.blur = StyleGAN_Blur(cout) if upsample else None
            self.noise1, self.noise2 = nn.Parameter(torch.zeros(1, cout, 1, 1)), nn.Parameter(torch.zeros(1, cout, 1, 1))
            self.style1, self.style2 = EqualLinear(128, 2 * cout), EqualLinear(128, 2 * cout)

        def adain(self, input, style, lin):
            style = lin(style).unsqueeze(2).unsqueeze(3)
            gamma, beta = style.chunk(2, 1)
            out = F.instance_norm(input)
            out = gamma * out + beta
            return out

        def forward(self, out, style):
            if self.upsample: out = F.interpolate(out, scale_factor=2, mode="nearest")
            out = self.conv1(out)
            if self.blur is not None: out = self.blur(out)
            out = F.leaky_relu(out + self.noise1 * torch.randn(out.shape[0], 1, out.shape[2], out.shape[3], device=out.device), 0.2)
            out = self.adain(out, style, self.style1)
            out = self.conv2(out)
            out = F.leaky_relu(out + self.noise2 * torch.randn(out.shape[0], 1, out.shape[2], out.shape[3], device=out.device), 0.2)
            return self.adain(out, style, self.style2)

    def __init__(self):
        super().__init__()
        layers = []
        for _ in range(4): layers += [EqualLinear(128, 128, 0.01), nn.LeakyReLU(0.2)]
        self.style = nn.Sequential(*layers)
        self.input = nn.Parameter(torch.randn(1, 128, 8, 8))
        self.progression = nn.ModuleList([StyleGAN_Styled(128, 128, False), StyleGAN_Styled(128, 64), StyleGAN_Styled(64, 32), StyleGAN_Styled(32, 16)])
        self.to_rgb = EqualConv2d(16, 3, 1)
        self.disc = nn.ModuleList([EqualConv2d(3, 16, 1), EqualConv2d(16, 32, 3, 1), EqualConv2d(32, 64, 3, 1), EqualConv2d(64, 128, 3, 1), EqualConv2d(129, 128, 3, 1)])
        self.linear = EqualLinear(128 * 16, 1)

    def D(self, input):
        out = F.leaky_relu(self.disc[0](input), 0.2)
        for conv in self.disc[1:-1]:
            out = F.leaky_relu(conv(out), 0.2)
            out = F.avg_pool2d(out, 2)
        out_std = torch.sqrt(out.var(0, unbiased=False) + 1e-8)
        mean_std = out_std.mean()
        mean_std = mean_std.expand(out.size(0), 1, out.size(2), out.size(3))
        out = torch.cat([out, mean_std], 1)
        out = F.avg_pool2d(F.leaky_relu(self.disc[-1](out), 0.2), 2)
        return self.linear(out.flatten(1))

    def forward(self, x, y):
        b = x.shape[0]
        styles = []
        for _ in range(2):
            z = torch.randn(b, 128, device=x.device)
            z = z / torch.sqrt(torch.mean(z ** 2, dim=1, keepdim=True) + 1e-8)
            styles.append(self.style(z))
        out = self.input.repeat(b, 1, 1, 1)
        for i, conv in enumerate(self.progression): out = conv(out, styles[0] if i < 2 else styles[1])
        fake = self.to_rgb(out)
        return F.softplus(-self.D(fake)).mean() + F.l1_loss(fake, y)


StyleGAN_Blur, StyleGAN_Styled = StyleGAN.Blur, StyleGAN.Styled


class Self_Attn(nn.Module):
    def __init__(self, in_dim):
        super().__init__()
        self.query_conv = nn.Conv2d(in_channels=in_dim, out_channels=in_dim // 8, kernel_size=1)
        self.key_conv = nn.Conv2d(in_channels=in_dim, out_channels=in_dim // 8, kernel_size=1)
        self.value_conv = nn.Conv2d(in_channels=in_dim, out_channels=in_dim, kernel_size=1)
        self.gamma = nn.Parameter(torch.zeros(1))
        self.softmax = nn.Softmax(dim=-1)

    def forward(self, x):
        m_batchsize, C, width, height = x.size()
        proj_query = self.query_conv(x).view(m_batchsize, -1, width * height).permute(0, 2, 1)
        proj_key = self.key_conv(x).view(m_batchsize, -1, width * height)
        energy = torch.bmm(proj_query, proj_key)
        attention = self.softmax(energy)
        proj_value = self.value_conv(x).view(m_batchsize, -1, width * height)
        out = torch.bmm(proj_value, attention.permute(0, 2, 1))
        out = out.view(m_batchsize, C, width, height)
        out = self.gamma * out + x
        return out, attention


class SpectralNorm(nn.Module):
    """the hand-written one, of (almost) every SAGAN repository"""
    def __init__(self, module, name="weight"):
        super().__init__()
        self.module, self.name = module, name
        w = getattr(self.module, name)
        height, width = w.data.shape[0], w.view(w.data.shape[0], -1).data.shape[1]
        self.module.register_buffer(name + "_u", F.normalize(torch.randn(height), dim=0, eps=1e-12))
        self.module.register_buffer(name + "_v", F.normalize(torch.randn(width), dim=0, eps=1e-12))
        w_bar = nn.Parameter(w.data)
        del self.module._parameters[name]
        self.module.register_parameter(name + "_bar", w_bar)

    def forward(self, *args):
        u, v, w = getattr(self.module, self.name + "_u"), getattr(self.module, self.name + "_v"), getattr(self.module, self.name + "_bar")
        height = w.shape[0]
        with torch.no_grad():
            v = F.normalize(torch.mv(torch.t(w.view(height, -1)), u), dim=0, eps=1e-12)
            u = F.normalize(torch.mv(w.view(height, -1), v), dim=0, eps=1e-12)
        sigma = u.dot(w.view(height, -1).mv(v))
        setattr(self.module, self.name, w / sigma.expand_as(w))
        return self.module.forward(*args)


@written(only(32))
class SAGAN(nn.Module):
    """spectral norm, self-attention maps, hinge losses of both players"""
    def __init__(self, conv_dim=32):
        super().__init__()
        self.l1 = nn.Sequential(SpectralNorm(nn.ConvTranspose2d(128, conv_dim * 4, 4)), nn.BatchNorm2d(conv_dim * 4), nn.ReLU())
        self.l2 = nn.Sequential(SpectralNorm(nn.ConvTranspose2d(conv_dim * 4, conv_dim * 2, 4, 2, 1)), nn.BatchNorm2d(conv_dim * 2), nn.ReLU())
        self.l3 = nn.Sequential(SpectralNorm(nn.ConvTranspose2d(conv_dim * 2, conv_dim, 4, 2, 1)), nn.BatchNorm2d(conv_dim), nn.ReLU())
        self.last, self.attn1 = nn.Sequential(nn.ConvTranspose2d(conv_dim, 3, 4, 2, 1), nn.Tanh()), Self_Attn(conv_dim)
        self.d1 = nn.Sequential(SpectralNorm(nn.Conv2d(3, conv_dim, 4, 2, 1)), nn.LeakyReLU(0.1))
        self.d2 = nn.Sequential(SpectralNorm(nn.Conv2d(conv_dim, conv_dim * 2, 4, 2, 1)), nn.LeakyReLU(0.1))
        self.d3 = nn.Sequential(SpectralNorm(nn.Conv2d(conv_dim * 2, conv_dim * 4, 4, 2, 1)), nn.LeakyReLU(0.1))
        self.dlast, self.attn2 = nn.Sequential(nn.Conv2d(conv_dim * 4, 1, 4)), Self_Attn(conv_dim * 2)

    def G(self, z):
        z = z.view(z.size(0), z.size(1), 1, 1)
        out = self.l3(self.l2(self.l1(z)))
        out, p1 = self.attn1(out)
        return self.last(out), p1

    def D(self, x):
        out = self.d2(self.d1(x))
        out, p1 = self.attn2(out)
        out = self.dlast(self.d3(out))
        return out.squeeze(), p1

    def forward(self, x):
        d_out_real, dr1 = self.D(x)
        z = torch.randn(x.size(0), 128, device=x.device)
        fake_images, gf1 = self.G(z)
        d_out_fake, df1 = self.D(fake_images)
        d_loss = torch.nn.ReLU()(1.0 - d_out_real).mean() + torch.nn.ReLU()(1.0 + d_out_fake).mean()
        return d_loss - d_out_fake.mean()


@written(pictures(32))
class BigGAN(nn.Module):
    """conditional batch norm by embeddings, chunks of z for each block, projection discriminator with torch's spectral norm"""
    class CCBN(nn.Module):
        def __init__(self, num_features, cond):
            super().__init__()
            self.bn = nn.BatchNorm2d(num_features, eps=1e-4, affine=False)
            self.gain, self.bias = nn.Linear(cond, num_features, bias=False), nn.Linear(cond, num_features, bias=False)

        def forward(self, x, y):
            gain = (1 + self.gain(y)).view(y.size(0), -1, 1, 1)
            bias = self.bias(y).view(y.size(0), -1, 1, 1)
            return self.bn(x) * gain + bias

    class GBlock(nn.Module):
        def __init__(self, cin, cout, cond):
            super().__init__()
            self.conv1, self.conv2, self.conv_sc = nn.Conv2d(cin, cout, 3, padding=1), nn.Conv2d(cout, cout, 3, padding=1), nn.Conv2d(cin, cout, 1)
            self.bn1, self.bn2, self.activation, self.upsample = BigGAN_CCBN(cin, cond), BigGAN_CCBN(cout, cond), nn.ReLU(inplace=False), partial(F.interpolate, scale_factor=2)

        def forward(self, x, y):
            h = self.activation(self.bn1(x, y))
            h = self.upsample(h)
            x = self.upsample(x)
            h = self.conv1(h)
            h = self.activation(self.bn2(h, y))
            h = self.conv2(h)
            x = self.conv_sc(x)
            return h + x

    class DBlock(nn.Module):
        def __init__(self, cin, cout, preactivation=True, downsample=True):
            super().__init__()
            sn = torch.nn.utils.spectral_norm
            self.conv1, self.conv2, self.conv_sc = sn(nn.Conv2d(cin, cout, 3, padding=1)), sn(nn.Conv2d(cout, cout, 3, padding=1)), sn(nn.Conv2d(cin, cout, 1))
            self.preactivation, self.downsample = preactivation, nn.AvgPool2d(2) if downsample else None

        def shortcut(self, x):
            x = self.conv_sc(x)
            if self.downsample: x = self.downsample(x)
            return x

        def forward(self, x):
            h = F.relu(x) if self.preactivation else x
            h = self.conv1(h)
            h = self.conv2(F.relu(h))
            if self.downsample: h = self.downsample(h)
            return h + self.shortcut(x)

    def __init__(self):
        super().__init__()
        self.shared, self.linear, self.z_chunk_size = nn.Embedding(1000, 64), nn.Linear(20, 128 * 16), 20
        self.gblocks = nn.ModuleList([nn.ModuleList([BigGAN_GBlock(128, 64, 84)]), nn.ModuleList([BigGAN_GBlock(64, 64, 84)]), nn.ModuleList([BigGAN_GBlock(64, 32, 84)])])
        self.output_layer = nn.Sequential(nn.BatchNorm2d(32), nn.ReLU(), nn.Conv2d(32, 3, 3, padding=1))
        self.dblocks = nn.ModuleList([BigGAN_DBlock(3, 32, preactivation=False), BigGAN_DBlock(32, 64), BigGAN_DBlock(64, 128, downsample=False)])
        self.dlinear, self.embed = torch.nn.utils.spectral_norm(nn.Linear(128, 1)), torch.nn.utils.spectral_norm(nn.Embedding(1000, 128))
        for m in self.modules():
            if isinstance(m, nn.Conv2d) and hasattr(m, "weight_orig"): nn.init.orthogonal_(m.weight_orig)

    def G(self, z, y):
        zs = torch.split(z, self.z_chunk_size, 1)
        z = zs[0]
        ys = [torch.cat([y, item], 1) for item in zs[1:]]
        h = self.linear(z)
        h = h.view(h.size(0), -1, 4, 4)
        for index, blocklist in enumerate(self.gblocks):
            for block in blocklist: h = block(h, ys[index])
        return torch.tanh(self.output_layer(h))

    def D(self, x, y):
        h = x
        for block in self.dblocks: h = block(h)
        h = torch.sum(F.relu(h), [2, 3])
        out = self.dlinear(h)
        out = out + torch.sum(self.embed(y) * h, 1, keepdim=True)
        return out

    def forward(self, x, y):
        z = torch.randn(x.size(0), 80, device=x.device)
        G_z = self.G(z, self.shared(y))
        D_input = torch.cat([G_z, x], 0)
        D_class = torch.cat([y, y], 0)
        D_out = self.D(D_input, D_class)
        D_fake, D_real = torch.split(D_out, [G_z.shape[0], x.shape[0]])
        loss_real = torch.mean(F.relu(1.0 - D_real))
        loss_fake = torch.mean(F.relu(1.0 + D_fake))
        return loss_real + loss_fake


BigGAN_CCBN, BigGAN_GBlock, BigGAN_DBlock = BigGAN.CCBN, BigGAN.GBlock, BigGAN.DBlock


@written(pictures(32, 1))
class ACGAN(nn.Module):
    """labels multiply the noise; Dropout2d in the discriminator, BCE on a sigmoid and an auxiliary class"""
    def __init__(self):
        super().__init__()
        self.label_emb, self.init_size = nn.Embedding(1000, 100), 8
        self.l1 = nn.Sequential(nn.Linear(100, 128 * self.init_size ** 2))
        self.conv_blocks = nn.Sequential(nn.BatchNorm2d(128), nn.Upsample(scale_factor=2), nn.Conv2d(128, 128, 3, stride=1, padding=1), nn.BatchNorm2d(128, 0.8), nn.LeakyReLU(0.2, inplace=True),
                                         nn.Upsample(scale_factor=2), nn.Conv2d(128, 64, 3, stride=1, padding=1), nn.BatchNorm2d(64, 0.8), nn.LeakyReLU(0.2, inplace=True), nn.Conv2d(64, 1, 3, stride=1, padding=1), nn.Tanh())

        def discriminator_block(in_filters, out_filters, bn=True):
            block = [nn.Conv2d(in_filters, out_filters, 3, 2, 1), nn.LeakyReLU(0.2, inplace=True), nn.Dropout2d(0.25)]
            if bn: block.append(nn.BatchNorm2d(out_filters, 0.8))
            return block

        self.d_blocks = nn.Sequential(*discriminator_block(1, 16, bn=False), *discriminator_block(16, 32), *discriminator_block(32, 64), *discriminator_block(64, 128))
        self.adv_layer, self.aux_layer = nn.Sequential(nn.Linear(512, 1), nn.Sigmoid()), nn.Sequential(nn.Linear(512, 10), nn.Softmax(dim=1))
        self.adversarial_loss, self.auxiliary_loss = nn.BCELoss(), nn.CrossEntropyLoss()
        self.apply(self.weights_init_normal)

    def weights_init_normal(self, m):
        classname = m.__class__.__name__
        if classname.find("Conv") != -1: torch.nn.init.normal_(m.weight.data, 0.0, 0.02)
        elif classname.find("BatchNorm2d") != -1:
            torch.nn.init.normal_(m.weight.data, 1.0, 0.02)
            torch.nn.init.constant_(m.bias.data, 0.0)

    def D(self, img):
        out = self.d_blocks(img)
        out = out.view(out.shape[0], -1)
        return self.adv_layer(out), self.aux_layer(out)

    def forward(self, x, y):
        valid, labels = torch.ones(x.shape[0], 1, device=x.device), y % 10
        z = torch.randn(x.shape[0], 100, device=x.device)
        out = self.l1(torch.mul(self.label_emb(labels), z))
        out = out.view(out.shape[0], 128, self.init_size, self.init_size)
        gen_imgs = self.conv_blocks(out)
        with torch.autocast(x.device.type, enabled=False):
            validity, pred_label = self.D(gen_imgs.float())
            g_loss = 0.5 * (self.adversarial_loss(validity, valid) + self.auxiliary_loss(pred_label, labels))
            real_pred, real_aux = self.D(x)
            d_real_loss = (self.adversarial_loss(real_pred, valid) + self.auxiliary_loss(real_aux, labels)) / 2
        return g_loss + d_real_loss


# ---------------------------------------------------------------- latent variables and flows

@written(only(64))
class BetaTCVAE(nn.Module):
    """modules built from a list of widths; the log importance weights of a minibatch, all pairs of samples"""
    def __init__(self):
        super().__init__()
        self.latent_dim, self.anneal_steps, self.alpha, self.beta, self.gamma = 10, 200, 1.0, 6.0, 1.0
        modules, in_channels, hidden_dims = [], 3, [32, 32, 64, 64]
        for h_dim in hidden_dims:
            modules.append(nn.Sequential(nn.Conv2d(in_channels, out_channels=h_dim, kernel_size=4, stride=2, padding=1), nn.LeakyReLU()))
            in_channels = h_dim
        self.encoder, self.fc = nn.Sequential(*modules), nn.Linear(hidden_dims[-1] * 16, 256)
        self.fc_mu, self.fc_var = nn.Linear(256, self.latent_dim), nn.Linear(256, self.latent_dim)
        modules = []
        self.decoder_input = nn.Linear(self.latent_dim, 256 * 4)
        hidden_dims.reverse()
        for i in range(len(hidden_dims) - 1):
            modules.append(nn.Sequential(nn.ConvTranspose2d(hidden_dims[i], hidden_dims[i + 1], kernel_size=3, stride=2, padding=1, output_padding=1), nn.LeakyReLU()))
        self.decoder = nn.Sequential(*modules)
        self.final_layer = nn.Sequential(nn.ConvTranspose2d(hidden_dims[-1], hidden_dims[-1], kernel_size=3, stride=2, padding=1, output_padding=1), nn.LeakyReLU(), nn.Conv2d(hidden_dims[-1], out_channels=3, kernel_size=3, padding=1), nn.Tanh())

    def log_density_gaussian(self, x, mu, logvar):
        norm = -0.5 * (math.log(2 * math.pi) + logvar)
        log_density = norm - 0.5 * ((x - mu) ** 2 * torch.exp(-logvar))
        return log_density

    def forward(self, x):
        result = self.encoder(x)
        result = torch.flatten(result, start_dim=1)
        result = self.fc(result)
        mu, log_var = self.fc_mu(result), self.fc_var(result)
        std = torch.exp(0.5 * log_var)
        eps = torch.randn_like(std)
        z = eps * std + mu
        recons = self.decoder_input(z)
        recons = recons.view(-1, 64, 4, 4)
        recons = self.final_layer(self.decoder(recons))
        recons_loss = F.mse_loss(recons, x, reduction="sum")
        log_q_zx = self.log_density_gaussian(z, mu, log_var).sum(dim=1)
        log_p_z = self.log_density_gaussian(z, torch.zeros_like(z), torch.zeros_like(z)).sum(dim=1)
        batch_size, latent_dim = z.shape
        mat_log_q_z = self.log_density_gaussian(z.view(batch_size, 1, latent_dim), mu.view(1, batch_size, latent_dim), log_var.view(1, batch_size, latent_dim))
        dataset_size = 100 * batch_size
        strat_weight = (dataset_size - batch_size + 1) / (dataset_size * (batch_size - 1))
        importance_weights = torch.empty(batch_size, batch_size, device=x.device).fill_(1 / (batch_size - 1))
        importance_weights.view(-1)[::batch_size] = 1 / dataset_size
        importance_weights.view(-1)[1::batch_size] = strat_weight
        log_importance_weights = importance_weights.log()
        mat_log_q_z += log_importance_weights.view(batch_size, batch_size, 1)
        log_q_z = torch.logsumexp(mat_log_q_z.sum(2), dim=1, keepdim=False)
        log_prod_q_z = torch.logsumexp(mat_log_q_z, dim=1, keepdim=False).sum(1)
        mi_loss, tc_loss, kld_loss = (log_q_zx - log_q_z).mean(), (log_q_z - log_prod_q_z).mean(), (log_prod_q_z - log_p_z).mean()
        return recons_loss / batch_size + self.alpha * mi_loss + (self.beta * tc_loss + self.gamma * kld_loss)


@written(lambda b, n, device: dict(x=floats(b, 784, device=device)))
class LadderVAE(nn.Module):
    """precision-weighted merges of the bottom-up and top-down passes, batch norm in perceptrons"""
    class Gaussian(nn.Module):
        def __init__(self, i, o):
            super().__init__()
            self.mu, self.log_var = nn.Linear(i, o), nn.Linear(i, o)

        def forward(self, x):
            mu, log_var = self.mu(x), F.softplus(self.log_var(x))
            return mu, log_var

    class Encoder(nn.Module):
        def __init__(self, x, h, z):
            super().__init__()
            self.linear, self.batchnorm, self.sample = nn.Linear(x, h), nn.BatchNorm1d(h), Ladder_Gaussian(h, z)

        def forward(self, x):
            x = self.linear(x)
            x = F.leaky_relu(self.batchnorm(x), 0.1)
            return x, self.sample(x)

    def __init__(self):
        super().__init__()
        sizes, hs, zs = [784, 512, 256], [512, 256, 128], [64, 32, 32]
        self.encoder = nn.ModuleList([Ladder_Encoder(i, h, z) for i, h, z in zip(sizes, hs, zs)])
        self.decoder = nn.ModuleList([nn.ModuleDict(dict(linear=nn.Linear(zs[i], hs[i - 1]), bn=nn.BatchNorm1d(hs[i - 1]), sample=Ladder_Gaussian(hs[i - 1], zs[i - 1]))) for i in (2, 1)])
        self.reconstruction = nn.Sequential(nn.Linear(64, 512), nn.ReLU(), nn.Linear(512, 784), nn.Sigmoid())

    def reparametrize(self, mu, log_var): return mu + torch.randn_like(mu) * log_var.mul(0.5).exp_()

    def forward(self, x):
        target = torch.sigmoid(x)
        latents = []
        for encoder in self.encoder:
            x, (mu, log_var) = encoder(x)
            latents.append((mu, log_var))
        latents = list(reversed(latents))
        mu, log_var = latents[0]
        z = self.reparametrize(mu, log_var)
        kl = -0.5 * torch.sum(1 + log_var - mu.pow(2) - log_var.exp(), dim=-1)
        for i, decoder in enumerate(self.decoder):
            l_mu, l_log_var = latents[i + 1]
            h = F.leaky_relu(decoder["bn"](decoder["linear"](z)), 0.1)
            p_mu, p_log_var = decoder["sample"](h)
            precision_l, precision_p = torch.exp(-l_log_var), torch.exp(-p_log_var)
            var = 1 / (precision_l + precision_p)
            q_mu = ((l_mu * precision_l) + (p_mu * precision_p)) * var
            q_log_var = torch.log(var + 1e-8)
            z = self.reparametrize(q_mu, q_log_var)
            kl += 0.5 * torch.sum(p_log_var - q_log_var + (q_log_var.exp() + (q_mu - p_mu) ** 2) / p_log_var.exp() - 1, dim=-1)
        r = self.reconstruction(z).float().clamp(1e-6, 1 - 1e-6)
        likelihood = torch.sum(target * torch.log(r) + (1 - target) * torch.log(1 - r), dim=-1)
        return -(likelihood - kl).mean()


Ladder_Gaussian, Ladder_Encoder = LadderVAE.Gaussian, LadderVAE.Encoder


@written(only(28, 1))
class IWAE(nn.Module):
    """k samples for each picture by repeat, weights by logsumexp and by softmax"""
    def __init__(self):
        super().__init__()
        self.num_samples, self.num_latent = 10, 50
        self.encoder = nn.Sequential(nn.Linear(784, 200), nn.Tanh(), nn.Linear(200, 200), nn.Tanh())
        self.mu, self.sigma = nn.Linear(200, 50), nn.Linear(200, 50)
        self.decoder = nn.Sequential(nn.Linear(50, 200), nn.Tanh(), nn.Linear(200, 200), nn.Tanh(), nn.Linear(200, 784))

    def forward(self, x):
        x = x.flatten(1).unsqueeze(1).repeat(1, self.num_samples, 1)
        h = self.encoder(x)
        mu, sigma = self.mu(h), torch.exp(0.5 * self.sigma(h))
        eps = torch.randn_like(sigma)
        z = mu + sigma * eps
        logits = self.decoder(z)
        log_Qh = torch.sum(-0.5 * (eps) ** 2 - torch.log(sigma), -1)
        log_Ph = torch.sum(-0.5 * z ** 2, -1)
        bce = F.binary_cross_entropy_with_logits(logits, torch.clamp(x, 0, 1), reduction="none")
        log_PxGh = -torch.sum(bce, -1)
        log_weight = log_Ph + log_PxGh - log_Qh
        log_weight = log_weight - torch.max(log_weight, 1, keepdim=True)[0].detach()
        weight = torch.exp(log_weight)
        weight = (weight / torch.sum(weight, 1, keepdim=True)).detach()
        loss = -torch.mean(torch.sum(weight * (log_Ph + log_PxGh - log_Qh), 1))
        bound = torch.logsumexp(log_Ph + log_PxGh - log_Qh, 1) - math.log(self.num_samples)
        return loss - 1e-3 * bound.mean()


@written(lambda b, n, device: dict(x=floats(b * 32, 43, device=device).view(b, 32, 43)))
class MAF(nn.Module):
    """MADE with masked linear layers, batch norm as a flow, orders reversed by flip"""
    class MaskedLinear(nn.Linear):
        def __init__(self, in_features, out_features, mask):
            super().__init__(in_features, out_features)
            self.register_buffer("mask", mask)

        def forward(self, input): return F.linear(input, self.weight * self.mask, self.bias)

    class BatchNormFlow(nn.Module):
        def __init__(self, n, momentum=0.0, eps=1e-5):
            super().__init__()
            self.log_gamma, self.beta = nn.Parameter(torch.zeros(n)), nn.Parameter(torch.zeros(n))
            self.momentum, self.eps = momentum, eps
            self.register_buffer("running_mean", torch.zeros(n))
            self.register_buffer("running_var", torch.ones(n))

        def forward(self, inputs):
            self.batch_mean = inputs.mean(0)
            self.batch_var = (inputs - self.batch_mean).pow(2).mean(0) + self.eps
            self.running_mean.mul_(self.momentum)
            self.running_var.mul_(self.momentum)
            self.running_mean.add_(self.batch_mean.data * (1 - self.momentum))
            self.running_var.add_(self.batch_var.data * (1 - self.momentum))
            mean, var = self.batch_mean, self.batch_var
            x_hat = (inputs - mean) / var.sqrt()
            y = torch.exp(self.log_gamma) * x_hat + self.beta
            return y, (self.log_gamma - 0.5 * torch.log(var)).sum(-1, keepdim=True)

    def get_mask(self, i, o, n, kind):
        in_degrees = torch.arange(i) % (n - 1) if kind != "input" else torch.arange(i) % n
        out_degrees = torch.arange(o) % n - 1 if kind == "output" else torch.arange(o) % (n - 1)
        return (out_degrees.unsqueeze(-1) >= in_degrees.unsqueeze(0)).float()

    def __init__(self, n=43, hidden=256):
        super().__init__()
        self.n = n
        self.flows = nn.ModuleList()
        for _ in range(3):
            self.flows.append(nn.ModuleDict(dict(joiner=MAF_Masked(n, hidden, self.get_mask(n, hidden, n, "input")), act=nn.Tanh() if _ % 2 else nn.ReLU(),
                                                 trunk=nn.Sequential(nn.ReLU(), MAF_Masked(hidden, hidden, self.get_mask(hidden, hidden, n, None)), nn.ReLU(),
                                                                     MAF_Masked(hidden, n * 2, self.get_mask(hidden, n * 2, n, "output"))), bn=MAF_BN(n))))
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.orthogonal_(module.weight)
                module.bias.data.fill_(0)

    def forward(self, x):
        inputs = x.reshape(-1, self.n)
        logdets = torch.zeros(inputs.size(0), 1, device=inputs.device)
        for flow in self.flows:
            h = flow["joiner"](inputs)
            m, a = flow["trunk"](h).chunk(2, 1)
            inputs = (inputs - m) * torch.exp(-a)
            logdets = logdets - a.sum(-1, keepdim=True)
            inputs, logdet = flow["bn"](inputs)
            logdets += logdet
            inputs = inputs.flip(1)
        log_probs = (-0.5 * inputs.pow(2) - 0.5 * math.log(2 * math.pi)).sum(-1, keepdim=True)
        return -(log_probs + logdets).mean()


MAF_Masked, MAF_BN = MAF.MaskedLinear, MAF.BatchNormFlow


@written(only(32))
class Glow(nn.Module):
    """squeeze, actnorm, an invertible convolution by its LU parts, couplings with zero convolutions, a split prior"""
    class Step(nn.Module):
        def __init__(self, c, filters=128):
            super().__init__()
            self.loc, self.scale = nn.Parameter(torch.zeros(1, c, 1, 1)), nn.Parameter(torch.ones(1, c, 1, 1))
            q, _ = torch.linalg.qr(torch.randn(c, c))
            w_p, w_l, w_u = torch.linalg.lu(q)
            w_s = torch.diag(w_u)
            self.register_buffer("w_p", w_p)
            self.register_buffer("u_mask", torch.triu(torch.ones(c, c), 1))
            self.register_buffer("l_mask", torch.tril(torch.ones(c, c), -1))
            self.register_buffer("s_sign", torch.sign(w_s))
            self.register_buffer("l_eye", torch.eye(c))
            self.w_l, self.w_s, self.w_u = nn.Parameter(w_l), nn.Parameter(torch.log(torch.abs(w_s))), nn.Parameter(torch.triu(w_u, 1))
            self.net = nn.Sequential(nn.Conv2d(c // 2, filters, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(filters, filters, 1), nn.ReLU(inplace=True), Glow_Zero(filters, c))
            self.net[0].weight.data.normal_(0, 0.05)

        def forward(self, input):
            _, _, height, width = input.shape
            logdet = height * width * torch.sum(torch.log(torch.abs(self.scale)))
            out = self.scale * (input + self.loc)
            weight = self.w_p @ (self.w_l * self.l_mask + self.l_eye) @ ((self.w_u * self.u_mask) + torch.diag(self.s_sign * torch.exp(self.w_s)))
            out = F.conv2d(out, weight.unsqueeze(2).unsqueeze(3))
            logdet = logdet + height * width * torch.sum(self.w_s)
            in_a, in_b = out.chunk(2, 1)
            log_s, t = self.net(in_a).chunk(2, 1)
            s = torch.sigmoid(log_s + 2)
            out_b = (in_b + t) * s
            return torch.cat([in_a, out_b], 1), logdet + torch.sum(torch.log(s).view(input.shape[0], -1), 1)

    class Zero(nn.Module):
        def __init__(self, i, o):
            super().__init__()
            self.conv, self.scale = nn.Conv2d(i, o, 3, padding=0), nn.Parameter(torch.zeros(1, o, 1, 1))
            self.conv.weight.data.zero_()
            self.conv.bias.data.zero_()

        def forward(self, input):
            out = F.pad(input, [1, 1, 1, 1], value=1)
            out = self.conv(out)
            out = out * torch.exp(self.scale * 3)
            return out

    def __init__(self):
        super().__init__()
        self.flows = nn.ModuleList([nn.ModuleList([Glow_Step(c) for _ in range(2)]) for c in (12, 24)])
        self.prior = nn.ModuleList([Glow_Zero(6, 12), Glow_Zero(24, 48)])

    def gaussian_log_p(self, x, mean, log_sd): return -0.5 * math.log(2 * math.pi) - log_sd - 0.5 * (x - mean) ** 2 / torch.exp(2 * log_sd)

    def forward(self, x):
        n_bins = 32.0
        out = torch.floor(torch.sigmoid(x) * n_bins) / n_bins - 0.5 + torch.rand_like(x) / n_bins
        log_p_sum, logdet = 0, 0
        for i, steps in enumerate(self.flows):
            b_size, n_channel, height, width = out.shape
            squeezed = out.view(b_size, n_channel, height // 2, 2, width // 2, 2)
            squeezed = squeezed.permute(0, 1, 3, 5, 2, 4)
            out = squeezed.contiguous().view(b_size, n_channel * 4, height // 2, width // 2)
            for flow in steps:
                out, det = flow(out)
                logdet = logdet + det
            if i == 0:
                out, z_new = out.chunk(2, 1)
                mean, log_sd = self.prior[i](out).chunk(2, 1)
                log_p = self.gaussian_log_p(z_new, mean, log_sd)
            else:
                zero = torch.zeros_like(out)
                mean, log_sd = self.prior[i](zero).chunk(2, 1)
                log_p = self.gaussian_log_p(out, mean, log_sd)
            log_p_sum = log_p_sum + log_p.view(b_size, -1).sum(1)
        n_pixel = 32 * 32 * 3
        loss = -math.log(n_bins) * n_pixel
        loss = loss + logdet + log_p_sum
        return (-loss / (math.log(2) * n_pixel)).mean()


Glow_Step, Glow_Zero = Glow.Step, Glow.Zero


# ---------------------------------------------------------------- diffusion

def exists(x): return x is not None
def default(val, d): return val if exists(val) else d() if callable(d) else d
def extract(a, t, x_shape):
    b, *_ = t.shape
    out = a.gather(-1, t)
    return out.reshape(b, *((1,) * (len(x_shape) - 1)))


class Residual(nn.Module):
    def __init__(self, fn):
        super().__init__()
        self.fn = fn

    def forward(self, x, *args, **kwargs): return self.fn(x, *args, **kwargs) + x


class PreNorm(nn.Module):
    def __init__(self, dim, fn):
        super().__init__()
        self.fn, self.norm = fn, nn.GroupNorm(1, dim)

    def forward(self, x): return self.fn(self.norm(x))


class DDPM_Linear(nn.Module):
    def __init__(self, dim, heads=4, dim_head=32):
        super().__init__()
        self.scale, self.heads = dim_head ** -0.5, heads
        self.to_qkv, self.to_out = nn.Conv2d(dim, dim_head * heads * 3, 1, bias=False), nn.Sequential(nn.Conv2d(dim_head * heads, dim, 1), nn.GroupNorm(1, dim))

    def forward(self, x):
        b, c, h, w = x.shape
        qkv = self.to_qkv(x).chunk(3, dim=1)
        q, k, v = map(lambda t: rearrange(t, "b (h c) x y -> b h c (x y)", h=self.heads), qkv)
        q = q.softmax(dim=-2)
        k = k.softmax(dim=-1)
        q = q * self.scale
        context = torch.einsum("b h d n, b h e n -> b h d e", k, v)
        out = torch.einsum("b h d e, b h d n -> b h e n", context, q)
        out = rearrange(out, "b h c (x y) -> b (h c) x y", h=self.heads, x=h, y=w)
        return self.to_out(out)


class DDPM_Attention(DDPM_Linear):
    def forward(self, x):
        b, c, h, w = x.shape
        q, k, v = map(lambda t: rearrange(t, "b (h c) x y -> b h c (x y)", h=self.heads), self.to_qkv(x).chunk(3, dim=1))
        q = q * self.scale
        sim = torch.einsum("b h d i, b h d j -> b h i j", q, k)
        sim = sim - sim.amax(dim=-1, keepdim=True).detach()
        attn = sim.softmax(dim=-1)
        out = torch.einsum("b h i j, b h d j -> b h i d", attn, v)
        out = rearrange(out, "b h (x y) d -> b (h d) x y", x=h, y=w)
        return self.to_out(out)


@written(lambda b, n, device: dict(x_start=floats(b, 3, 32, 32, device=device), t=ints(b, device=device)))
class AnnotatedDDPM(nn.Module):
    """the annotated diffusion model: einops, weight-standardised convolutions, scale and shift, linear attention, alphas as buffers"""
    class WSConv(nn.Conv2d):
        def forward(self, x):
            eps = 1e-5 if x.dtype == torch.float32 else 1e-3
            weight = self.weight
            mean = reduce(weight, "o ... -> o 1 1 1", "mean")
            var = reduce(weight, "o ... -> o 1 1 1", partial(torch.var, unbiased=False))
            normalized_weight = (weight - mean) / (var + eps).rsqrt()
            return F.conv2d(x, normalized_weight, self.bias, self.stride, self.padding, self.dilation, self.groups)

    class Block(nn.Module):
        def __init__(self, dim, dim_out, groups=4):
            super().__init__()
            self.proj, self.norm, self.act = DDPM_WSConv(dim, dim_out, 3, padding=1), nn.GroupNorm(groups, dim_out), nn.SiLU()

        def forward(self, x, scale_shift=None):
            x = self.proj(x)
            x = self.norm(x)
            if exists(scale_shift):
                scale, shift = scale_shift
                x = x * (scale + 1) + shift
            x = self.act(x)
            return x

    class Res(nn.Module):
        def __init__(self, dim, dim_out, *, time_emb_dim=None):
            super().__init__()
            self.mlp = nn.Sequential(nn.SiLU(), nn.Linear(time_emb_dim, dim_out * 2)) if exists(time_emb_dim) else None
            self.block1, self.block2 = DDPM_Block(dim, dim_out), DDPM_Block(dim_out, dim_out)
            self.res_conv = nn.Conv2d(dim, dim_out, 1) if dim != dim_out else nn.Identity()

        def forward(self, x, time_emb=None):
            scale_shift = None
            if exists(self.mlp) and exists(time_emb):
                time_emb = self.mlp(time_emb)
                time_emb = rearrange(time_emb, "b c -> b c 1 1")
                scale_shift = time_emb.chunk(2, dim=1)
            h = self.block1(x, scale_shift=scale_shift)
            h = self.block2(h)
            return h + self.res_conv(x)

    def __init__(self, dim=24, dim_mults=(1, 2, 4)):
        super().__init__()
        self.dim, self.init_conv = dim, nn.Conv2d(3, dim, 1, padding=0)
        dims = [dim, *map(lambda m: dim * m, dim_mults)]
        in_out = list(zip(dims[:-1], dims[1:]))
        time_dim = dim * 4
        self.time_mlp = nn.Sequential(nn.Linear(dim, time_dim), nn.GELU(), nn.Linear(time_dim, time_dim))
        block_klass = partial(DDPM_Res, time_emb_dim=time_dim)
        self.downs, self.ups = nn.ModuleList([]), nn.ModuleList([])
        for ind, (dim_in, dim_out) in enumerate(in_out):
            is_last = ind >= len(in_out) - 1
            down = nn.Conv2d(dim_in, dim_out, 3, padding=1) if is_last else nn.Sequential(Rearrange("b c (h p1) (w p2) -> b (c p1 p2) h w", p1=2, p2=2), nn.Conv2d(dim_in * 4, dim_out, 1))
            self.downs.append(nn.ModuleList([block_klass(dim_in, dim_in), block_klass(dim_in, dim_in), Residual(PreNorm(dim_in, DDPM_Linear(dim_in))), down]))
        mid = dims[-1]
        self.mid_block1, self.mid_attn, self.mid_block2 = block_klass(mid, mid), Residual(PreNorm(mid, DDPM_Attention(mid))), block_klass(mid, mid)
        for ind, (dim_in, dim_out) in enumerate(reversed(in_out)):
            is_last = ind == len(in_out) - 1
            up = nn.Conv2d(dim_out, dim_in, 3, padding=1) if is_last else nn.Sequential(nn.Upsample(scale_factor=2, mode="nearest"), nn.Conv2d(dim_out, dim_in, 3, padding=1))
            self.ups.append(nn.ModuleList([block_klass(dim_out + dim_in, dim_out), block_klass(dim_out + dim_in, dim_out), Residual(PreNorm(dim_out, DDPM_Linear(dim_out))), up]))
        self.final_res_block, self.final_conv = block_klass(dim * 2, dim), nn.Conv2d(dim, 3, 1)
        betas = torch.linspace(0.0001, 0.02, 200)
        alphas_cumprod = torch.cumprod(1.0 - betas, axis=0)
        self.register_buffer("sqrt_alphas_cumprod", torch.sqrt(alphas_cumprod))
        self.register_buffer("sqrt_one_minus_alphas_cumprod", torch.sqrt(1.0 - alphas_cumprod))

    def embed(self, time):
        half_dim = self.dim // 2
        embeddings = math.log(10000) / (half_dim - 1)
        embeddings = torch.exp(torch.arange(half_dim, device=time.device) * -embeddings)
        embeddings = time[:, None] * embeddings[None, :]
        return torch.cat((embeddings.sin(), embeddings.cos()), dim=-1)

    def denoise(self, x, time):
        x = self.init_conv(x)
        r = x.clone()
        t = self.time_mlp(self.embed(time))
        h = []
        for block1, block2, attn, downsample in self.downs:
            x = block1(x, t)
            h.append(x)
            x = block2(x, t)
            x = attn(x)
            h.append(x)
            x = downsample(x)
        x = self.mid_block1(x, t)
        x = self.mid_attn(x)
        x = self.mid_block2(x, t)
        for block1, block2, attn, upsample in self.ups:
            x = torch.cat((x, h.pop()), dim=1)
            x = block1(x, t)
            x = torch.cat((x, h.pop()), dim=1)
            x = block2(x, t)
            x = attn(x)
            x = upsample(x)
        x = torch.cat((x, r), dim=1)
        x = self.final_res_block(x, t)
        return self.final_conv(x)

    def forward(self, x_start, t):
        noise = torch.randn_like(x_start)
        x_noisy = extract(self.sqrt_alphas_cumprod, t, x_start.shape) * x_start + extract(self.sqrt_one_minus_alphas_cumprod, t, x_start.shape) * noise
        predicted_noise = self.denoise(x_noisy, t)
        return F.mse_loss(noise, predicted_noise)


DDPM_WSConv, DDPM_Block, DDPM_Res = AnnotatedDDPM.WSConv, AnnotatedDDPM.Block, AnnotatedDDPM.Res


@written(pictures(32))
class EDM(nn.Module):
    """preconditioning, log-normal sigmas, loss weights; positional embeddings, labels, dropout of conditions, augmentation-free"""
    class UNetBlock(nn.Module):
        def __init__(self, i, o, emb, up=False, down=False, attention=False):
            super().__init__()
            self.up, self.down, self.out_channels, self.dropout, self.skip_scale = up, down, o, 0.1, np.sqrt(0.5)
            self.num_heads = o // 32 if attention else 0
            self.norm0, self.conv0, self.affine = nn.GroupNorm(min(32, i // 4), i, eps=1e-6), nn.Conv2d(i, o, 3, padding=1), nn.Linear(emb, o * 2)
            self.norm1, self.conv1 = nn.GroupNorm(min(32, o // 4), o, eps=1e-6), nn.Conv2d(o, o, 3, padding=1)
            self.skip = nn.Conv2d(i, o, 1) if o != i or up or down else None
            if self.num_heads: self.norm2, self.qkv, self.proj = nn.GroupNorm(min(32, o // 4), o), nn.Conv2d(o, o * 3, 1), nn.Conv2d(o, o, 1)

        def resample(self, x):
            if self.up: return F.interpolate(x, scale_factor=2, mode="nearest")
            if self.down: return F.avg_pool2d(x, 2)
            return x

        def forward(self, x, emb):
            orig = x
            x = self.conv0(self.resample(F.silu(self.norm0(x))))
            params = self.affine(emb).unsqueeze(2).unsqueeze(3).to(x.dtype)
            scale, shift = params.chunk(chunks=2, dim=1)
            x = F.silu(torch.addcmul(shift, self.norm1(x), scale + 1))
            x = self.conv1(F.dropout(x, p=self.dropout, training=self.training))
            x = x.add_(self.skip(self.resample(orig)) if self.skip is not None else orig)
            x = x * self.skip_scale
            if self.num_heads:
                q, k, v = self.qkv(self.norm2(x)).reshape(x.shape[0] * self.num_heads, x.shape[1] // self.num_heads, 3, -1).unbind(2)
                w = torch.einsum("ncq,nck->nqk", q.to(torch.float32), (k / np.sqrt(k.shape[1])).to(torch.float32)).softmax(dim=2).to(q.dtype)
                a = torch.einsum("nqk,nck->ncq", w, v)
                x = self.proj(a.reshape(*x.shape)).add_(x)
                x = x * self.skip_scale
            return x

    def __init__(self, sigma_data=0.5):
        super().__init__()
        self.sigma_data = sigma_data
        self.map_label, self.map_layer0, self.map_layer1 = nn.Linear(10, 32), nn.Linear(32, 128), nn.Linear(128, 128)
        self.enc, self.dec = nn.ModuleDict(), nn.ModuleDict()
        self.enc["32x32_conv"] = nn.Conv2d(3, 32, 3, padding=1)
        self.enc["32x32_block0"], self.enc["16x16_down"], self.enc["16x16_block0"] = EDM_Block(32, 32, 128), EDM_Block(32, 32, 128, down=True), EDM_Block(32, 64, 128, attention=True)
        self.dec["16x16_in0"], self.dec["16x16_in1"] = EDM_Block(64, 64, 128, attention=True), EDM_Block(64, 64, 128)
        self.dec["16x16_block0"], self.dec["32x32_up"], self.dec["32x32_block0"], self.dec["32x32_block1"] = EDM_Block(128, 64, 128), EDM_Block(64, 64, 128, up=True), EDM_Block(96, 32, 128), EDM_Block(64, 32, 128)
        self.out_norm, self.out_conv = nn.GroupNorm(8, 32), nn.Conv2d(32, 3, 3, padding=1)

    def net(self, x, noise_labels, class_labels):
        freqs = torch.arange(start=0, end=16, dtype=torch.float32, device=x.device)
        freqs = freqs / 16
        freqs = (1 / 10000) ** freqs
        emb = noise_labels.ger(freqs.to(noise_labels.dtype))
        emb = torch.cat([emb.cos(), emb.sin()], dim=1)
        emb = emb.reshape(emb.shape[0], 2, -1).flip(1).reshape(*emb.shape)
        tmp = class_labels * (torch.rand([x.shape[0], 1], device=x.device) >= 0.1).to(class_labels.dtype)
        emb = emb + self.map_label(tmp * np.sqrt(10))
        emb = F.silu(self.map_layer0(emb))
        emb = F.silu(self.map_layer1(emb))
        skips = []
        for name, block in self.enc.items():
            x = block(x, emb) if isinstance(block, EDM_Block) else block(x)
            if "down" not in name: skips.append(x)
        for name, block in self.dec.items():
            if "block" in name: x = torch.cat([x, skips.pop()], dim=1)
            x = block(x, emb)
        return self.out_conv(F.silu(self.out_norm(x)))

    def forward(self, x, y):
        class_labels = F.one_hot(y % 10, 10).float()
        rnd_normal = torch.randn([x.shape[0], 1, 1, 1], device=x.device)
        sigma = (rnd_normal * 1.2 - 1.2).exp()
        weight = (sigma ** 2 + self.sigma_data ** 2) / (sigma * self.sigma_data) ** 2
        n = torch.randn_like(x) * sigma
        c_skip = self.sigma_data ** 2 / (sigma ** 2 + self.sigma_data ** 2)
        c_out = sigma * self.sigma_data / (sigma ** 2 + self.sigma_data ** 2).sqrt()
        c_in = 1 / (self.sigma_data ** 2 + sigma ** 2).sqrt()
        c_noise = sigma.log() / 4
        F_x = self.net(c_in * (x + n), c_noise.flatten(), class_labels)
        D_yn = c_skip * (x + n) + c_out * F_x.to(torch.float32)
        loss = weight * ((D_yn - x) ** 2)
        return loss.sum().mul(1 / x.shape[0])


EDM_Block = EDM.UNetBlock


@written(lambda b, n, device: dict(nobs=floats(b, 2, 20, device=device), naction=floats(b, 16, 2, device=device), t=ints(b, device=device)))
class DiffusionPolicy(nn.Module):
    """a 1-D U-Net whose blocks are modulated by FiLM: Mish, GroupNorm, einops layers"""
    class Conv1dBlock(nn.Module):
        def __init__(self, inp, out, k, n_groups=8):
            super().__init__()
            self.block = nn.Sequential(nn.Conv1d(inp, out, k, padding=k // 2), nn.GroupNorm(n_groups, out), nn.Mish())

        def forward(self, x): return self.block(x)

    class Res(nn.Module):
        def __init__(self, inp, out, cond_dim, k=5):
            super().__init__()
            self.blocks = nn.ModuleList([Policy_Block(inp, out, k), Policy_Block(out, out, k)])
            self.out_channels = out
            self.cond_encoder = nn.Sequential(nn.Mish(), nn.Linear(cond_dim, out * 2), nn.Unflatten(-1, (-1, 1)))
            self.residual_conv = nn.Conv1d(inp, out, 1) if inp != out else nn.Identity()

        def forward(self, x, cond):
            out = self.blocks[0](x)
            embed = self.cond_encoder(cond)
            embed = embed.reshape(embed.shape[0], 2, self.out_channels, 1)
            scale = embed[:, 0, ...]
            bias = embed[:, 1, ...]
            out = scale * out + bias
            out = self.blocks[1](out)
            out = out + self.residual_conv(x)
            return out

    def __init__(self, dims=(2, 64, 128, 256), dsed=128):
        super().__init__()
        cond, in_out = dsed + 40, list(zip(dims[:-1], dims[1:]))
        self.step_mlp = nn.Sequential(nn.Linear(dsed, dsed * 4), nn.Mish(), nn.Linear(dsed * 4, dsed))
        self.mid_modules = nn.ModuleList([Policy_Res(dims[-1], dims[-1], cond), Policy_Res(dims[-1], dims[-1], cond)])
        self.down_modules = nn.ModuleList([nn.ModuleList([Policy_Res(i, o, cond), Policy_Res(o, o, cond), nn.Conv1d(o, o, 3, 2, 1) if ind < 2 else nn.Identity()]) for ind, (i, o) in enumerate(in_out)])
        self.up_modules = nn.ModuleList([nn.ModuleList([Policy_Res(o * 2, i, cond), Policy_Res(i, i, cond), nn.ConvTranspose1d(i, i, 4, 2, 1)]) for ind, (i, o) in enumerate(reversed(in_out[1:]))])
        self.final_conv = nn.Sequential(Policy_Block(64, 64, 5), nn.Conv1d(64, 2, 1))
        self.register_buffer("alphas_cumprod", torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000), 0))

    def forward(self, nobs, naction, t):
        obs_cond = nobs.flatten(start_dim=1)
        noise = torch.randn(naction.shape, device=naction.device)
        alpha = self.alphas_cumprod[t] ** 0.5
        sigma = (1 - self.alphas_cumprod[t]) ** 0.5
        while len(alpha.shape) < len(naction.shape): alpha, sigma = alpha.unsqueeze(-1), sigma.unsqueeze(-1)
        sample = alpha * naction + sigma * noise
        x = sample.moveaxis(-1, -2)
        emb = torch.exp(torch.arange(64, device=x.device) * -(math.log(10000) / 63))
        emb = t[:, None] * emb[None, :]
        global_feature = self.step_mlp(torch.cat((emb.sin(), emb.cos()), dim=-1))
        global_feature = torch.cat([global_feature, obs_cond], axis=-1)
        h = []
        for idx, (resnet, resnet2, downsample) in enumerate(self.down_modules):
            x = resnet(x, global_feature)
            x = resnet2(x, global_feature)
            h.append(x)
            x = downsample(x)
        for mid_module in self.mid_modules: x = mid_module(x, global_feature)
        for idx, (resnet, resnet2, upsample) in enumerate(self.up_modules):
            x = torch.cat((x, h.pop()), dim=1)
            x = resnet(x, global_feature)
            x = resnet2(x, global_feature)
            x = upsample(x)
        x = self.final_conv(x)
        x = x.moveaxis(-1, -2)
        return nn.functional.mse_loss(x, noise)


Policy_Block, Policy_Res = DiffusionPolicy.Conv1dBlock, DiffusionPolicy.Res


@written(only(28, 1))
class ScoreNet(nn.Module):
    """the score-SDE tutorial: Gaussian Fourier features, dense layers added in place, swish as a lambda"""
    class Dense(nn.Module):
        def __init__(self, i, o):
            super().__init__()
            self.dense = nn.Linear(i, o)

        def forward(self, x): return self.dense(x)[..., None, None]

    def __init__(self, channels=(32, 64, 128, 256), embed_dim=256):
        super().__init__()
        self.W = nn.Parameter(torch.randn(embed_dim // 2) * 30.0, requires_grad=False)
        self.embed = nn.Linear(embed_dim, embed_dim)
        c1, c2, c3, c4 = channels
        self.conv1, self.dense1, self.gnorm1 = nn.Conv2d(1, c1, 3, stride=1, bias=False), Score_Dense(embed_dim, c1), nn.GroupNorm(4, num_channels=c1)
        self.conv2, self.dense2, self.gnorm2 = nn.Conv2d(c1, c2, 3, stride=2, bias=False), Score_Dense(embed_dim, c2), nn.GroupNorm(32, num_channels=c2)
        self.conv3, self.dense3, self.gnorm3 = nn.Conv2d(c2, c3, 3, stride=2, bias=False), Score_Dense(embed_dim, c3), nn.GroupNorm(32, num_channels=c3)
        self.conv4, self.dense4, self.gnorm4 = nn.Conv2d(c3, c4, 3, stride=2, bias=False), Score_Dense(embed_dim, c4), nn.GroupNorm(32, num_channels=c4)
        self.tconv4, self.dense5, self.tgnorm4 = nn.ConvTranspose2d(c4, c3, 3, stride=2, bias=False), Score_Dense(embed_dim, c3), nn.GroupNorm(32, num_channels=c3)
        self.tconv3, self.dense6, self.tgnorm3 = nn.ConvTranspose2d(c3 + c3, c2, 3, stride=2, bias=False, output_padding=1), Score_Dense(embed_dim, c2), nn.GroupNorm(32, num_channels=c2)
        self.tconv2, self.dense7, self.tgnorm2 = nn.ConvTranspose2d(c2 + c2, c1, 3, stride=2, bias=False, output_padding=1), Score_Dense(embed_dim, c1), nn.GroupNorm(32, num_channels=c1)
        self.tconv1 = nn.ConvTranspose2d(c1 + c1, 1, 3, stride=1)
        self.act = lambda x: x * torch.sigmoid(x)

    def score(self, x, t, std):
        x_proj = t[:, None] * self.W[None, :] * 2 * np.pi
        embed = self.act(self.embed(torch.cat([torch.sin(x_proj), torch.cos(x_proj)], dim=-1)))
        h1 = self.conv1(x)
        h1 += self.dense1(embed)
        h1 = self.gnorm1(h1)
        h1 = self.act(h1)
        h2 = self.conv2(h1)
        h2 += self.dense2(embed)
        h2 = self.act(self.gnorm2(h2))
        h3 = self.conv3(h2)
        h3 += self.dense3(embed)
        h3 = self.act(self.gnorm3(h3))
        h4 = self.conv4(h3)
        h4 += self.dense4(embed)
        h4 = self.act(self.gnorm4(h4))
        h = self.tconv4(h4)
        h += self.dense5(embed)
        h = self.act(self.tgnorm4(h))
        h = self.tconv3(torch.cat([h, h3], dim=1))
        h += self.dense6(embed)
        h = self.act(self.tgnorm3(h))
        h = self.tconv2(torch.cat([h, h2], dim=1))
        h += self.dense7(embed)
        h = self.act(self.tgnorm2(h))
        h = self.tconv1(torch.cat([h, h1], dim=1))
        return h / std[:, None, None, None]

    def forward(self, x, eps=1e-5):
        random_t = torch.rand(x.shape[0], device=x.device) * (1.0 - eps) + eps
        z = torch.randn_like(x)
        std = torch.sqrt((25.0 ** (2 * random_t) - 1.0) / 2.0 / np.log(25.0))
        perturbed_x = x + z * std[:, None, None, None]
        score = self.score(perturbed_x, random_t, std)
        return torch.mean(torch.sum((score * std[:, None, None, None] + z) ** 2, dim=(1, 2, 3)))


Score_Dense = ScoreNet.Dense


# ---------------------------------------------------------------- few shots, objects, styles, equations

@written(lambda b, n, device: dict(x=floats(b, 3, 24, 24, device=device), y=floats(b, 3, 48, 48, device=device)))
class RCAN(nn.Module):
    """residual groups of channel attention, mean shifts as frozen convolutions, pixel shuffle"""
    class MeanShift(nn.Conv2d):
        def __init__(self, rgb_range, rgb_mean, rgb_std, sign=-1):
            super().__init__(3, 3, kernel_size=1)
            std = torch.tensor(rgb_std)
            self.weight.data.copy_(torch.eye(3).view(3, 3, 1, 1))
            self.weight.data.div_(std.view(3, 1, 1, 1))
            self.bias.data.copy_(sign * rgb_range * torch.tensor(rgb_mean))
            self.bias.data.div_(std)
            for p in self.parameters(): p.requires_grad = False

    class CALayer(nn.Module):
        def __init__(self, channel, reduction=16):
            super().__init__()
            self.avg_pool = nn.AdaptiveAvgPool2d(1)
            self.conv_du = nn.Sequential(nn.Conv2d(channel, channel // reduction, 1, padding=0, bias=True), nn.ReLU(inplace=True), nn.Conv2d(channel // reduction, channel, 1, padding=0, bias=True), nn.Sigmoid())

        def forward(self, x):
            y = self.avg_pool(x)
            y = self.conv_du(y)
            return x * y

    class RCAB(nn.Module):
        def __init__(self, n_feat, res_scale=1.0):
            super().__init__()
            modules_body = []
            for i in range(2):
                modules_body.append(nn.Conv2d(n_feat, n_feat, 3, padding=1))
                if i == 0: modules_body.append(nn.ReLU(True))
            modules_body.append(RCAN_CA(n_feat))
            self.body, self.res_scale = nn.Sequential(*modules_body), res_scale

        def forward(self, x):
            res = self.body(x)
            res += x
            return res

    class Group(nn.Module):
        def __init__(self, n_feat, n):
            super().__init__()
            self.body = nn.Sequential(*[RCAN_RCAB(n_feat) for _ in range(n)], nn.Conv2d(n_feat, n_feat, 3, padding=1))

        def forward(self, x):
            res = self.body(x)
            res += x
            return res

    def __init__(self, n_feats=48):
        super().__init__()
        rgb_mean, rgb_std = (0.4488, 0.4371, 0.4040), (1.0, 1.0, 1.0)
        self.sub_mean, self.add_mean = RCAN_Mean(255, rgb_mean, rgb_std), RCAN_Mean(255, rgb_mean, rgb_std, 1)
        self.head = nn.Sequential(nn.Conv2d(3, n_feats, 3, padding=1))
        self.body = nn.Sequential(*[RCAN_Group(n_feats, 2) for _ in range(2)], nn.Conv2d(n_feats, n_feats, 3, padding=1))
        self.tail = nn.Sequential(nn.Conv2d(n_feats, 4 * n_feats, 3, padding=1), nn.PixelShuffle(2), nn.Conv2d(n_feats, 3, 3, padding=1))

    def forward(self, x, y):
        x = self.sub_mean(x)
        x = self.head(x)
        res = self.body(x)
        res += x
        x = self.tail(res)
        x = self.add_mean(x)
        return torch.mean(torch.abs(x - y))


RCAN_Mean, RCAN_CA, RCAN_RCAB, RCAN_Group = RCAN.MeanShift, RCAN.CALayer, RCAN.RCAB, RCAN.Group


@written(only(64))
class SlotAttention(nn.Module):
    """objects as slots: a GRU cell in iterations, a soft position embedding of linear coordinates, a spatial broadcast decoder, masks by softmax over slots"""
    class Slots(nn.Module):
        def __init__(self, num_slots, dim, iters=3, eps=1e-8, hidden_dim=128):
            super().__init__()
            self.num_slots, self.iters, self.eps, self.scale = num_slots, iters, eps, dim ** -0.5
            self.slots_mu, self.slots_sigma = nn.Parameter(torch.randn(1, 1, dim)), nn.Parameter(torch.rand(1, 1, dim))
            self.to_q, self.to_k, self.to_v, self.gru = nn.Linear(dim, dim), nn.Linear(dim, dim), nn.Linear(dim, dim), GRUCell(dim, dim)
            self.fc1, self.fc2 = nn.Linear(dim, hidden_dim), nn.Linear(hidden_dim, dim)
            self.norm_input, self.norm_slots, self.norm_pre_ff = nn.LayerNorm(dim), nn.LayerNorm(dim), nn.LayerNorm(dim)

        def forward(self, inputs):
            b, n, d = inputs.shape
            n_s = self.num_slots
            mu = self.slots_mu.expand(b, n_s, -1)
            sigma = self.slots_sigma.expand(b, n_s, -1)
            slots = torch.normal(0.0, 1.0, (b, n_s, d), device=inputs.device) * sigma + mu
            inputs = self.norm_input(inputs)
            k, v = self.to_k(inputs), self.to_v(inputs)
            for _ in range(self.iters):
                slots_prev = slots
                slots = self.norm_slots(slots)
                q = self.to_q(slots)
                dots = torch.einsum("bid,bjd->bij", q, k) * self.scale
                attn = dots.softmax(dim=1) + self.eps
                attn = attn / attn.sum(dim=-1, keepdim=True)
                updates = torch.einsum("bjd,bij->bid", v, attn)
                slots = self.gru(updates.reshape(-1, d), slots_prev.reshape(-1, d))
                slots = slots.reshape(b, -1, d)
                slots = slots + self.fc2(F.relu(self.fc1(self.norm_pre_ff(slots))))
            return slots

    def build_grid(self, r):
        ranges = [np.linspace(0.0, 1.0, num=res) for res in r]
        grid = np.meshgrid(*ranges, sparse=False, indexing="ij")
        grid = np.stack(grid, axis=-1).reshape(r[0], r[1], -1)
        grid = np.expand_dims(grid, axis=0).astype(np.float32)
        return torch.from_numpy(np.concatenate([grid, 1.0 - grid], axis=-1))

    def __init__(self, hid=64, slots=5):
        super().__init__()
        self.num_slots = slots
        self.convs = nn.Sequential(*[m for i in range(4) for m in (nn.Conv2d(3 if i == 0 else hid, hid, 5, stride=2 if i == 1 else 1, padding=2), nn.ReLU())])
        self.register_buffer("grid_e", self.build_grid((32, 32)))
        self.register_buffer("grid_d", self.build_grid((8, 8)))
        self.pos_e, self.pos_d, self.fc1, self.fc2 = nn.Linear(4, hid), nn.Linear(4, hid), nn.Linear(hid, hid), nn.Linear(hid, hid)
        self.slot_attention = Slots(slots, hid)
        self.decoder = nn.ModuleList([nn.ConvTranspose2d(hid, hid, 5, stride=(2, 2), padding=2, output_padding=1) for _ in range(3)] + [nn.ConvTranspose2d(hid, 4, 3, stride=(1, 1), padding=1)])

    def forward(self, x):
        image = x
        x = self.convs(image)
        x = x.permute(0, 2, 3, 1)
        x = x + self.pos_e(self.grid_e)
        x = torch.flatten(x, 1, 2)
        x = nn.LayerNorm(x.shape[1:], elementwise_affine=False)(x)
        x = self.fc2(F.relu(self.fc1(x)))
        slots = self.slot_attention(x)
        slots = slots.reshape((-1, slots.shape[-1])).unsqueeze(1).unsqueeze(2)
        slots = slots.repeat((1, 8, 8, 1))
        x = slots + self.pos_d(self.grid_d)
        x = x.permute(0, 3, 1, 2)
        for layer in self.decoder[:-1]: x = F.relu(layer(x))
        x = self.decoder[-1](x)
        x = x[:, :, :image.shape[2], :image.shape[3]]
        x = x.permute(0, 2, 3, 1)
        recons, masks = x.reshape(image.shape[0], -1, x.shape[1], x.shape[2], x.shape[3]).split([3, 1], dim=-1)
        masks = nn.Softmax(dim=1)(masks)
        recon_combined = torch.sum(recons * masks, dim=1)
        recon_combined = recon_combined.permute(0, 3, 1, 2)
        return F.mse_loss(recon_combined, image)


Slots = SlotAttention.Slots


def conv_block(in_channels, out_channels):
    bn = nn.BatchNorm2d(out_channels)
    nn.init.uniform_(bn.weight)
    return nn.Sequential(nn.Conv2d(in_channels, out_channels, 3, padding=1), bn, nn.ReLU(), nn.MaxPool2d(2))


@written(lambda b, n, device: dict(support=floats(b, 5, 3, 1, 28, 28, device=device), query=floats(b, 5, 4, 1, 28, 28, device=device)))
class ProtoNet(nn.Module):
    """an episode: supports and queries in one pass, prototypes by mean, distances by expand, targets by arange"""
    def __init__(self, x_dim=1, hid_dim=64, z_dim=64):
        super().__init__()
        self.encoder = nn.Sequential(conv_block(x_dim, hid_dim), conv_block(hid_dim, hid_dim), conv_block(hid_dim, hid_dim), conv_block(hid_dim, z_dim), nn.Flatten())

    def euclidean_dist(self, x, y):
        n, m, d = x.size(0), y.size(0), x.size(1)
        x = x.unsqueeze(1).expand(n, m, d)
        y = y.unsqueeze(0).expand(n, m, d)
        return torch.pow(x - y, 2).sum(2)

    def forward(self, support, query):
        xs, xq = support.flatten(0, 1), query.flatten(0, 1)
        n_class, n_support, n_query = xs.size(0), xs.size(1), xq.size(1)
        target_inds = torch.arange(0, n_class, device=xs.device).view(n_class, 1, 1).expand(n_class, n_query, 1).long()
        x = torch.cat([xs.reshape(n_class * n_support, *xs.size()[2:]), xq.reshape(n_class * n_query, *xq.size()[2:])], 0)
        z = self.encoder(x)
        z_dim = z.size(-1)
        z_proto = z[:n_class * n_support].view(n_class, n_support, z_dim).mean(1)
        zq = z[n_class * n_support:]
        dists = self.euclidean_dist(zq, z_proto)
        log_p_y = F.log_softmax(-dists, dim=1).view(n_class, n_query, -1)
        loss_val = -log_p_y.gather(2, target_inds).squeeze().view(-1).mean()
        return loss_val


@written(lambda b, n, device: dict(samples=floats(b, 5, 3, 84, 84, device=device), batches=floats(b, 3, 84, 84, device=device), y=ints(b, device=device)))
class RelationNet(nn.Module):
    """every query beside every class's sum, joined in channels, scored by a network, mean squared error to one-hots"""
    def __init__(self):
        super().__init__()
        self.layer1 = nn.Sequential(nn.Conv2d(3, 32, kernel_size=3, padding=0), nn.BatchNorm2d(32, momentum=1, affine=True), nn.ReLU(), nn.MaxPool2d(2))
        self.layer2 = nn.Sequential(nn.Conv2d(32, 32, kernel_size=3, padding=0), nn.BatchNorm2d(32, momentum=1, affine=True), nn.ReLU(), nn.MaxPool2d(2))
        self.layer3 = nn.Sequential(nn.Conv2d(32, 32, kernel_size=3, padding=1), nn.BatchNorm2d(32, momentum=1, affine=True), nn.ReLU())
        self.rel1 = nn.Sequential(nn.Conv2d(64, 32, kernel_size=3, padding=0), nn.BatchNorm2d(32, momentum=1, affine=True), nn.ReLU(), nn.MaxPool2d(2))
        self.rel2 = nn.Sequential(nn.Conv2d(32, 32, kernel_size=3, padding=0), nn.BatchNorm2d(32, momentum=1, affine=True), nn.ReLU(), nn.MaxPool2d(2))
        self.fc1, self.fc2 = nn.Linear(32 * 9, 8), nn.Linear(8, 1)

    def embed(self, x): return self.layer3(self.layer2(self.layer1(x)))

    def forward(self, samples, batches, y):
        b = batches.size(0)
        sample_features = self.embed(samples.reshape(-1, 3, 84, 84))
        sample_features = sample_features.view(b, 5, 32, 19, 19)
        sample_features = torch.sum(sample_features, 0).squeeze(0)
        batch_features = self.embed(batches)
        sample_features_ext = sample_features.unsqueeze(0).repeat(b, 1, 1, 1, 1)
        batch_features_ext = batch_features.unsqueeze(0).repeat(5, 1, 1, 1, 1)
        batch_features_ext = torch.transpose(batch_features_ext, 0, 1)
        relation_pairs = torch.cat((sample_features_ext, batch_features_ext), 2).view(-1, 64, 19, 19)
        out = self.rel2(self.rel1(relation_pairs))
        out = out.view(out.size(0), -1)
        out = F.relu(self.fc1(out))
        relations = torch.sigmoid(self.fc2(out)).view(-1, 5)
        one_hot_labels = torch.zeros(b, 5, device=y.device).scatter_(1, (y % 5).view(-1, 1), 1)
        return nn.MSELoss()(relations, one_hot_labels)


@written(translated(64))
class FastStyle(nn.Module):
    """the transformer net of fast neural style: reflection pads, instance norms, a frozen VGG, Gram matrices, total variation"""
    class ConvLayer(nn.Module):
        def __init__(self, i, o, kernel_size, stride, upsample=None):
            super().__init__()
            self.upsample, self.reflection_pad, self.conv2d = upsample, nn.ReflectionPad2d(kernel_size // 2), nn.Conv2d(i, o, kernel_size, stride)

        def forward(self, x):
            x_in = x
            if self.upsample: x_in = F.interpolate(x_in, mode="nearest", scale_factor=self.upsample)
            out = self.reflection_pad(x_in)
            out = self.conv2d(out)
            return out

    class Residual(nn.Module):
        def __init__(self, channels):
            super().__init__()
            self.conv1, self.in1, self.relu = StyleConv(channels, channels, 3, 1), nn.InstanceNorm2d(channels, affine=True), nn.ReLU()
            self.conv2, self.in2 = StyleConv(channels, channels, 3, 1), nn.InstanceNorm2d(channels, affine=True)

        def forward(self, x):
            residual = x
            out = self.relu(self.in1(self.conv1(x)))
            out = self.in2(self.conv2(out))
            out = out + residual
            return out

    def __init__(self):
        super().__init__()
        self.conv1, self.in1, self.conv2, self.in2, self.conv3, self.in3 = StyleConv(3, 32, 9, 1), nn.InstanceNorm2d(32, affine=True), StyleConv(32, 64, 3, 2), nn.InstanceNorm2d(64, affine=True), StyleConv(64, 128, 3, 2), nn.InstanceNorm2d(128, affine=True)
        self.res1, self.res2 = StyleRes(128), StyleRes(128)
        self.deconv1, self.in4, self.deconv2, self.in5, self.deconv3, self.relu = StyleConv(128, 64, 3, 1, 2), nn.InstanceNorm2d(64, affine=True), StyleConv(64, 32, 3, 1, 2), nn.InstanceNorm2d(32, affine=True), StyleConv(32, 3, 9, 1), nn.ReLU()
        self.slice1 = nn.Sequential(nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(inplace=True))
        self.slice2 = nn.Sequential(nn.MaxPool2d(2, 2), nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(64, 64, 3, padding=1), nn.ReLU(inplace=True))
        self.slice3 = nn.Sequential(nn.MaxPool2d(2, 2), nn.Conv2d(64, 128, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(128, 128, 3, padding=1), nn.ReLU(inplace=True))
        for s in (self.slice1, self.slice2, self.slice3):
            for param in s.parameters(): param.requires_grad = False

    def vgg(self, X):
        h_relu1_2 = self.slice1(X)
        h_relu2_2 = self.slice2(h_relu1_2)
        h_relu3_3 = self.slice3(h_relu2_2)
        return h_relu1_2, h_relu2_2, h_relu3_3

    def gram_matrix(self, y):
        (b, ch, h, w) = y.size()
        features = y.view(b, ch, w * h)
        features_t = features.transpose(1, 2)
        return features.bmm(features_t) / (ch * h * w)

    def normalize_batch(self, batch):
        mean = batch.new_tensor([0.485, 0.456, 0.406]).view(-1, 1, 1)
        std = batch.new_tensor([0.229, 0.224, 0.225]).view(-1, 1, 1)
        batch = batch.div(255.0)
        return (batch - mean) / std

    def forward(self, x, y):
        h = self.relu(self.in1(self.conv1(x)))
        h = self.relu(self.in2(self.conv2(h)))
        h = self.relu(self.in3(self.conv3(h)))
        h = self.res2(self.res1(h))
        h = self.relu(self.in4(self.deconv1(h)))
        h = self.relu(self.in5(self.deconv2(h)))
        out = self.deconv3(h)
        with torch.no_grad():
            features_style = self.vgg(self.normalize_batch(y))
            gram_style = [self.gram_matrix(f) for f in features_style]
            features_x = self.vgg(self.normalize_batch(x))
        features_y = self.vgg(self.normalize_batch(out))
        content_loss = 1e5 * F.mse_loss(features_y[1], features_x[1])
        style_loss = 0.0
        for ft_y, gm_s in zip(features_y, gram_style):
            gm_y = self.gram_matrix(ft_y)
            style_loss += F.mse_loss(gm_y, gm_s)
        style_loss *= 1e10
        tv = torch.sum(torch.abs(out[:, :, :, :-1] - out[:, :, :, 1:])) + torch.sum(torch.abs(out[:, :, :-1, :] - out[:, :, 1:, :]))
        return content_loss + style_loss + 1e-6 * tv


StyleConv, StyleRes = FastStyle.ConvLayer, FastStyle.Residual


@written(pictures(28, 1))
class ODENet(nn.Module):
    """a neural ODE by Runge and Kutta's fourth order: a channel of time joined before each convolution"""
    class ConcatConv2d(nn.Module):
        def __init__(self, dim_in, dim_out, ksize=3, stride=1, padding=1):
            super().__init__()
            self._layer = nn.Conv2d(dim_in + 1, dim_out, kernel_size=ksize, stride=stride, padding=padding)

        def forward(self, t, x):
            tt = torch.ones_like(x[:, :1, :, :]) * t
            ttx = torch.cat([tt, x], 1)
            return self._layer(ttx)

    class ODEfunc(nn.Module):
        def __init__(self, dim):
            super().__init__()
            self.norm1, self.relu, self.conv1 = nn.GroupNorm(min(32, dim), dim), nn.ReLU(inplace=True), ConcatConv2d(dim, dim)
            self.norm2, self.conv2, self.norm3, self.nfe = nn.GroupNorm(min(32, dim), dim), ConcatConv2d(dim, dim), nn.GroupNorm(min(32, dim), dim), 0

        def forward(self, t, x):
            self.nfe += 1
            out = self.norm1(x)
            out = self.relu(out)
            out = self.conv1(t, out)
            out = self.norm2(out)
            out = self.relu(out)
            out = self.conv2(t, out)
            out = self.norm3(out)
            return out

    def __init__(self):
        super().__init__()
        self.downsampling = nn.Sequential(nn.Conv2d(1, 64, 3, 1), nn.GroupNorm(32, 64), nn.ReLU(inplace=True), nn.Conv2d(64, 64, 4, 2, 1), nn.GroupNorm(32, 64), nn.ReLU(inplace=True), nn.Conv2d(64, 64, 4, 2, 1))
        self.odefunc = ODEfunc(64)
        self.fc_layers = nn.Sequential(nn.GroupNorm(32, 64), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d((1, 1)), nn.Flatten(), nn.Linear(64, 10))

    def rk4(self, func, x, n=2):
        h = 1.0 / n
        for i in range(n):
            t = i * h
            k1 = func(t, x)
            k2 = func(t + h / 2, x + h * k1 / 2)
            k3 = func(t + h / 2, x + h * k2 / 2)
            k4 = func(t + h, x + h * k3)
            x = x + (k1 + 2 * k2 + 2 * k3 + k4) * h / 6
        return x

    def forward(self, x, y):
        out = self.downsampling(x)
        out = self.rk4(self.odefunc, out)
        return F.cross_entropy(self.fc_layers(out), y % 10)


ConcatConv2d, ODEfunc = ODENet.ConcatConv2d, ODENet.ODEfunc


# ---------------------------------------------------------------- detection, pose

def boxes(size, n): return lambda b, _, device: dict(x=floats(b, 3, size, size, device=device), boxes=floats(b, n, 4, device=device), labels=ints(b, n, device=device))


@written(lambda b, n, device: dict(x=floats(b, 3, 128, 128, device=device), t1=floats(b, 3, 8, 8, 25, device=device), t2=floats(b, 3, 16, 16, 25, device=device)))
class YOLOv3(nn.Module):
    """a list of module definitions; layers that route, join and upsample by kind; the anchors' grid built in forward"""
    defs = [("conv", 16, 3, 1, 1), ("conv", 32, 3, 2, 1), ("conv", 16, 1, 1, 1), ("conv", 32, 3, 1, 1), ("shortcut", -3), ("conv", 64, 3, 2, 1), ("conv", 32, 1, 1, 1), ("conv", 64, 3, 1, 1), ("shortcut", -3),
            ("conv", 128, 3, 2, 1), ("maxpool", 2, 1), ("conv", 256, 3, 2, 1), ("conv", 128, 1, 1, 1), ("conv", 256, 3, 1, 1), ("conv", 75, 1, 1, 0), ("yolo", ((81, 82), (135, 169), (344, 319))),
            ("route", (-4,)), ("conv", 64, 1, 1, 1), ("upsample", 2), ("route", (-1, 9)), ("conv", 128, 3, 1, 1), ("conv", 75, 1, 1, 0), ("yolo", ((10, 14), (23, 27), (37, 58)))]

    def __init__(self):
        super().__init__()
        filters, self.module_list = [3], nn.ModuleList()
        for i, (kind, *d) in enumerate(self.defs):
            modules, out = nn.Sequential(), filters[-1]
            if kind == "conv":
                out, k, s, bn = d
                modules.add_module(f"conv_{i}", nn.Conv2d(filters[-1], out, k, s, (k - 1) // 2, bias=not bn))
                if bn:
                    modules.add_module(f"batch_norm_{i}", nn.BatchNorm2d(out, momentum=0.1, eps=1e-5))
                    modules.add_module(f"leaky_{i}", nn.LeakyReLU(0.1))
            elif kind == "maxpool":
                modules.add_module(f"_debug_padding_{i}", nn.ZeroPad2d((0, 1, 0, 1)))
                modules.add_module(f"maxpool_{i}", nn.MaxPool2d(kernel_size=d[0], stride=d[1], padding=0))
            elif kind == "upsample": modules.add_module(f"upsample_{i}", nn.Upsample(scale_factor=d[0], mode="nearest"))
            elif kind == "route": out = sum([filters[1:][j] for j in d[0]])
            self.module_list.append(modules)
            filters.append(out)
        self.mse_loss, self.bce_loss = nn.MSELoss(), nn.BCEWithLogitsLoss()

    def yolo(self, x, anchors, target):
        stride = 128 // x.size(2)
        bs, _, ny, nx = x.shape
        x = x.view(bs, 3, 25, ny, nx).permute(0, 1, 3, 4, 2).contiguous()
        yv, xv = torch.meshgrid([torch.arange(ny, device=x.device), torch.arange(nx, device=x.device)], indexing="ij")
        grid = torch.stack((xv, yv), 2).view((1, 1, ny, nx, 2)).float()
        anchor_grid = torch.tensor(anchors, device=x.device).float().view(1, -1, 1, 1, 2)
        xy = (x[..., 0:2].sigmoid() + grid) * stride
        wh = torch.exp(x[..., 2:4].clamp(max=4.0)) * anchor_grid
        obj = torch.sigmoid(target[..., 4])
        mask = (obj > 0.5).float()
        loss_xy = (mask.unsqueeze(-1) * (xy / 128 - target[..., 0:2]) ** 2).mean()
        loss_wh = (mask.unsqueeze(-1) * (wh / 128 - target[..., 2:4]) ** 2).mean()
        loss_cls = self.bce_loss(x[..., 5:], (target[..., 5:] > 0).float())
        return loss_xy + loss_wh + loss_cls + self.bce_loss(x[..., 4], mask)

    def forward(self, x, t1, t2):
        layer_outputs, losses, targets = [], [], [t1, t2]
        for (kind, *d), module in zip(self.defs, self.module_list):
            if kind in ("conv", "upsample", "maxpool"): x = module(x)
            elif kind == "route": x = torch.cat([layer_outputs[int(i)] for i in d[0]], 1)
            elif kind == "shortcut": x = layer_outputs[-1] + layer_outputs[d[0]]
            elif kind == "yolo": losses.append(self.yolo(x, d[0], targets[len(losses)]))
            layer_outputs.append(x)
        return sum(losses)


@written(lambda b, n, device: dict(x=floats(b, 3, 128, 128, device=device), hm=floats(b, 20, 32, 32, device=device), wh=floats(b, 16, 2, device=device), reg=floats(b, 16, 2, device=device), ind=ints(b, 16, device=device)))
class CenterNet(nn.Module):
    """a recursive hourglass of two stacks, heads in a dict, the penalty-reduced focal loss, features gathered at centres"""
    class Conv(nn.Module):
        def __init__(self, k, i, o, stride=1, with_bn=True):
            super().__init__()
            pad = (k - 1) // 2
            self.conv, self.bn, self.relu = nn.Conv2d(i, o, (k, k), padding=(pad, pad), stride=(stride, stride), bias=not with_bn), nn.BatchNorm2d(o) if with_bn else nn.Sequential(), nn.ReLU(inplace=True)

        def forward(self, x): return self.relu(self.bn(self.conv(x)))

    class Res(nn.Module):
        def __init__(self, i, o, stride=1):
            super().__init__()
            self.conv1, self.bn1, self.relu1 = nn.Conv2d(i, o, (3, 3), padding=(1, 1), stride=(stride, stride), bias=False), nn.BatchNorm2d(o), nn.ReLU(inplace=True)
            self.conv2, self.bn2 = nn.Conv2d(o, o, (3, 3), padding=(1, 1), bias=False), nn.BatchNorm2d(o)
            self.skip = nn.Sequential(nn.Conv2d(i, o, (1, 1), stride=(stride, stride), bias=False), nn.BatchNorm2d(o)) if stride != 1 or i != o else nn.Sequential()
            self.relu = nn.ReLU(inplace=True)

        def forward(self, x):
            conv1 = self.conv1(x)
            bn1 = self.bn1(conv1)
            relu1 = self.relu1(bn1)
            conv2 = self.conv2(relu1)
            bn2 = self.bn2(conv2)
            skip = self.skip(x)
            return self.relu(bn2 + skip)

    class KP(nn.Module):
        def __init__(self, n, dims):
            super().__init__()
            curr_dim, next_dim = dims[0], dims[1]
            self.up1 = Center_Res(curr_dim, curr_dim)
            self.max1 = nn.Sequential()
            self.low1 = Center_Res(curr_dim, next_dim, stride=2)
            self.low2 = Center_KP(n - 1, dims[1:]) if n > 1 else Center_Res(next_dim, next_dim)
            self.low3, self.up2 = Center_Res(next_dim, curr_dim), nn.Upsample(scale_factor=2)

        def forward(self, x):
            up1 = self.up1(x)
            max1 = self.max1(x)
            low1 = self.low1(max1)
            low2 = self.low2(low1)
            low3 = self.low3(low2)
            up2 = self.up2(low3)
            return up1 + up2

    def __init__(self, nstack=2):
        super().__init__()
        self.nstack, self.heads = nstack, {"hm": 20, "wh": 2, "reg": 2}
        self.pre = nn.Sequential(Center_Conv(7, 3, 32, stride=2), Center_Res(32, 48, stride=2))
        self.kps = nn.ModuleList([Center_KP(2, [48, 64, 96]) for _ in range(nstack)])
        self.cnvs = nn.ModuleList([Center_Conv(3, 48, 48) for _ in range(nstack)])
        self.inters = nn.ModuleList([Center_Res(48, 48) for _ in range(nstack - 1)])
        self.inters_ = nn.ModuleList([nn.Sequential(nn.Conv2d(48, 48, (1, 1), bias=False), nn.BatchNorm2d(48)) for _ in range(nstack - 1)])
        self.cnvs_ = nn.ModuleList([nn.Sequential(nn.Conv2d(48, 48, (1, 1), bias=False), nn.BatchNorm2d(48)) for _ in range(nstack - 1)])
        for head in self.heads:
            self.__setattr__(head, nn.ModuleList([nn.Sequential(Center_Conv(3, 48, 48, with_bn=False), nn.Conv2d(48, self.heads[head], (1, 1))) for _ in range(nstack)]))
            if "hm" in head:
                for heat in self.__getattr__(head): heat[-1].bias.data.fill_(-2.19)
        self.relu = nn.ReLU(inplace=True)

    def neg_loss(self, pred, gt):
        pos_inds = gt.ge(1).float()
        neg_inds = gt.lt(1).float()
        neg_weights = torch.pow(1 - gt, 4)
        loss = 0
        pos_loss = torch.log(pred) * torch.pow(1 - pred, 2) * pos_inds
        neg_loss = torch.log(1 - pred) * torch.pow(pred, 2) * neg_weights * neg_inds
        num_pos = pos_inds.float().sum()
        pos_loss = pos_loss.sum()
        neg_loss = neg_loss.sum()
        return loss - (pos_loss + neg_loss) / (num_pos + 1e-4)

    def reg_l1(self, output, ind, target):
        feat = output.permute(0, 2, 3, 1).contiguous()
        feat = feat.view(feat.size(0), -1, feat.size(3))
        ind = ind.unsqueeze(2).expand(ind.size(0), ind.size(1), feat.size(2))
        feat = feat.gather(1, ind)
        return torch.abs(feat - target).sum() / (ind.float().sum() * 0 + 16)

    def forward(self, x, hm, wh, reg, ind):
        inter = self.pre(x)
        outs = []
        for i in range(self.nstack):
            kp, cnv = self.kps[i](inter), None
            cnv = self.cnvs[i](kp)
            out = {}
            for head in self.heads: out[head] = self.__getattr__(head)[i](cnv)
            outs.append(out)
            if i < self.nstack - 1:
                inter = self.inters_[i](inter) + self.cnvs_[i](cnv)
                inter = self.relu(inter)
                inter = self.inters[i](inter)
        hm_loss, wh_loss, off_loss = 0, 0, 0
        for output in outs:
            output["hm"] = torch.clamp(output["hm"].sigmoid(), min=1e-4, max=1 - 1e-4)
            hm_loss += self.neg_loss(output["hm"], torch.sigmoid(hm)) / self.nstack
            wh_loss += self.reg_l1(output["wh"], ind, wh) / self.nstack
            off_loss += self.reg_l1(output["reg"], ind, reg) / self.nstack
        return hm_loss + 0.1 * wh_loss + off_loss


Center_Conv, Center_Res, Center_KP = CenterNet.Conv, CenterNet.Res, CenterNet.KP


@written(lambda b, n, device: dict(x=floats(b, 3, 128, 128, device=device), loc_t=floats(b, 5440, 4, device=device), conf_t=ints(b, 5440, device=device)))
class SSD(nn.Module):
    """a VGG made of a cfg list run by index, L2Norm, extras, locations and confidences permuted and concatenated, hard negatives by two sorts"""
    class L2Norm(nn.Module):
        def __init__(self, n_channels, scale):
            super().__init__()
            self.n_channels, self.gamma, self.eps = n_channels, scale or None, 1e-10
            self.weight = nn.Parameter(torch.Tensor(self.n_channels))
            nn.init.constant_(self.weight, self.gamma)

        def forward(self, x):
            norm = x.pow(2).sum(dim=1, keepdim=True).sqrt() + self.eps
            x = torch.div(x, norm)
            out = self.weight.unsqueeze(0).unsqueeze(2).unsqueeze(3).expand_as(x) * x
            return out

    def __init__(self, num_classes=21):
        super().__init__()
        layers, in_channels, self.num_classes = [], 3, num_classes
        for v in [32, 32, "M", 64, 64, "C", 128, 128, "M", 256]:
            if v == "M": layers += [nn.MaxPool2d(kernel_size=2, stride=2)]
            elif v == "C": layers += [nn.MaxPool2d(kernel_size=2, stride=2, ceil_mode=True)]
            else:
                layers += [nn.Conv2d(in_channels, v, kernel_size=3, padding=1), nn.ReLU(inplace=True)]
                in_channels = v
        layers += [nn.MaxPool2d(kernel_size=3, stride=1, padding=1), nn.Conv2d(256, 256, kernel_size=3, padding=6, dilation=6), nn.ReLU(inplace=True), nn.Conv2d(256, 256, kernel_size=1), nn.ReLU(inplace=True)]
        self.vgg, self.split = nn.ModuleList(layers), 12
        self.norm = SSD_L2Norm(128, 20)
        self.extras = nn.ModuleList([nn.Conv2d(256, 64, 1), nn.Conv2d(64, 128, 3, stride=2, padding=1), nn.Conv2d(128, 64, 1), nn.Conv2d(64, 128, 3, stride=2, padding=1)])
        self.loc = nn.ModuleList([nn.Conv2d(c, 4 * 4, 3, padding=1) for c in (128, 256, 128, 128)])
        self.conf = nn.ModuleList([nn.Conv2d(c, 4 * num_classes, 3, padding=1) for c in (128, 256, 128, 128)])
        for m in self.modules():
            if isinstance(m, nn.Conv2d):
                nn.init.xavier_uniform_(m.weight.data)
                m.bias.data.zero_()

    def forward(self, x, loc_t, conf_t):
        sources, loc, conf = list(), list(), list()
        for k in range(self.split): x = self.vgg[k](x)
        for k in range(self.split, len(self.vgg)):
            if k == 14:
                s = self.norm(x)
                sources.append(s)
            x = self.vgg[k](x)
        sources.append(x)
        for k, v in enumerate(self.extras):
            x = F.relu(v(x), inplace=True)
            if k % 2 == 1: sources.append(x)
        for (x, l, c) in zip(sources, self.loc, self.conf):
            loc.append(l(x).permute(0, 2, 3, 1).contiguous())
            conf.append(c(x).permute(0, 2, 3, 1).contiguous())
        loc = torch.cat([o.view(o.size(0), -1) for o in loc], 1)
        conf = torch.cat([o.view(o.size(0), -1) for o in conf], 1)
        loc_data, conf_data = loc.view(loc.size(0), -1, 4), conf.view(conf.size(0), -1, self.num_classes)
        conf_t = conf_t % self.num_classes
        pos = conf_t > 0
        num = loc_data.size(0)
        pos_idx = pos.unsqueeze(pos.dim()).expand_as(loc_data)
        n = torch.abs(loc_data - loc_t)
        loss_l = (torch.where(n < 1.0, 0.5 * n ** 2, n - 0.5) * pos_idx.float()).sum()
        batch_conf = conf_data.view(-1, self.num_classes)
        x_max = batch_conf.detach().max()
        loss_c = torch.log(torch.sum(torch.exp(batch_conf - x_max), 1, keepdim=True)) + x_max - batch_conf.gather(1, conf_t.view(-1, 1))
        mining = loss_c.detach().view(num, -1).masked_fill(pos, 0)
        _, loss_idx = mining.sort(1, descending=True)
        _, idx_rank = loss_idx.sort(1)
        num_pos = pos.long().sum(1, keepdim=True)
        num_neg = torch.clamp(3 * num_pos, max=pos.size(1) - 1)
        neg = idx_rank < num_neg.expand_as(idx_rank)
        loss_c = (F.cross_entropy(batch_conf, conf_t.view(-1), reduction="none").view(num, -1) * (pos | neg).float()).sum()
        N = num_pos.sum().clamp(min=1)
        return (loss_l + loss_c) / N


SSD_L2Norm = SSD.L2Norm


# ---------------------------------------------------------------- segmentation, depth, flow

@written(segmented(96))
class UNetPlusPlus(nn.Module):
    """nested dense skips, deep supervision, BCE with a Dice term over one channel"""
    class VGGBlock(nn.Module):
        def __init__(self, in_channels, middle_channels, out_channels):
            super().__init__()
            self.relu = nn.ReLU(inplace=True)
            self.conv1, self.bn1 = nn.Conv2d(in_channels, middle_channels, 3, padding=1), nn.BatchNorm2d(middle_channels)
            self.conv2, self.bn2 = nn.Conv2d(middle_channels, out_channels, 3, padding=1), nn.BatchNorm2d(out_channels)

        def forward(self, x):
            out = self.conv1(x)
            out = self.bn1(out)
            out = self.relu(out)
            out = self.conv2(out)
            out = self.bn2(out)
            out = self.relu(out)
            return out

    def __init__(self):
        super().__init__()
        f = [16, 32, 64, 128]
        self.pool, self.up = nn.MaxPool2d(2, 2), nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
        self.conv0_0, self.conv1_0, self.conv2_0, self.conv3_0 = [NestedBlock(i, o, o) for i, o in zip([3] + f, f)]
        self.conv0_1, self.conv1_1, self.conv2_1 = NestedBlock(f[0] + f[1], f[0], f[0]), NestedBlock(f[1] + f[2], f[1], f[1]), NestedBlock(f[2] + f[3], f[2], f[2])
        self.conv0_2, self.conv1_2 = NestedBlock(f[0] * 2 + f[1], f[0], f[0]), NestedBlock(f[1] * 2 + f[2], f[1], f[1])
        self.conv0_3 = NestedBlock(f[0] * 3 + f[1], f[0], f[0])
        self.final1, self.final2, self.final3 = nn.Conv2d(f[0], 1, kernel_size=1), nn.Conv2d(f[0], 1, kernel_size=1), nn.Conv2d(f[0], 1, kernel_size=1)

    def criterion(self, input, target):
        bce = F.binary_cross_entropy_with_logits(input, target)
        smooth = 1e-5
        input = torch.sigmoid(input)
        num = target.size(0)
        input = input.view(num, -1)
        target = target.view(num, -1)
        intersection = (input * target)
        dice = (2.0 * intersection.sum(1) + smooth) / (input.sum(1) + target.sum(1) + smooth)
        dice = 1 - dice.sum() / num
        return 0.5 * bce + dice

    def forward(self, x, y):
        target = (y > 0).float().unsqueeze(1)
        x0_0 = self.conv0_0(x)
        x1_0 = self.conv1_0(self.pool(x0_0))
        x0_1 = self.conv0_1(torch.cat([x0_0, self.up(x1_0)], 1))
        x2_0 = self.conv2_0(self.pool(x1_0))
        x1_1 = self.conv1_1(torch.cat([x1_0, self.up(x2_0)], 1))
        x0_2 = self.conv0_2(torch.cat([x0_0, x0_1, self.up(x1_1)], 1))
        x3_0 = self.conv3_0(self.pool(x2_0))
        x2_1 = self.conv2_1(torch.cat([x2_0, self.up(x3_0)], 1))
        x1_2 = self.conv1_2(torch.cat([x1_0, x1_1, self.up(x2_1)], 1))
        x0_3 = self.conv0_3(torch.cat([x0_0, x0_1, x0_2, self.up(x1_2)], 1))
        outputs = [self.final1(x0_1), self.final2(x0_2), self.final3(x0_3)]
        loss = 0
        for output in outputs: loss += self.criterion(output, target)
        loss /= len(outputs)
        return loss


NestedBlock = UNetPlusPlus.VGGBlock


@written(lambda b, n, device: dict(x=floats(b, 1, 16, 48, 48, device=device), y=ints(b, 16, 48, 48, device=device)))
class VNet(nn.Module):
    """volumes: PReLU or ELU per channel, the input repeated over channels and added, Dropout3d, Tversky's loss"""
    class LUConv(nn.Module):
        def __init__(self, nchan):
            super().__init__()
            self.relu1, self.conv1, self.bn1 = nn.PReLU(nchan), nn.Conv3d(nchan, nchan, kernel_size=5, padding=2), nn.BatchNorm3d(nchan)

        def forward(self, x): return self.relu1(self.bn1(self.conv1(x)))

    class Down(nn.Module):
        def __init__(self, inChans, nConvs, dropout=False):
            super().__init__()
            outChans = 2 * inChans
            self.down_conv, self.bn1 = nn.Conv3d(inChans, outChans, kernel_size=2, stride=2), nn.BatchNorm3d(outChans)
            self.do1, self.relu1, self.relu2 = nn.Dropout3d() if dropout else (lambda x: x), nn.ELU(inplace=True), nn.PReLU(outChans)
            self.ops = nn.Sequential(*[VNet_LU(outChans) for _ in range(nConvs)])

        def forward(self, x):
            down = self.relu1(self.bn1(self.down_conv(x)))
            out = self.do1(down)
            out = self.ops(out)
            out = self.relu2(torch.add(out, down))
            return out

    class Up(nn.Module):
        def __init__(self, inChans, outChans, nConvs):
            super().__init__()
            self.up_conv, self.bn1 = nn.ConvTranspose3d(inChans, outChans // 2, kernel_size=2, stride=2), nn.BatchNorm3d(outChans // 2)
            self.do2, self.relu1, self.relu2 = nn.Dropout3d(), nn.PReLU(outChans // 2), nn.PReLU(outChans)
            self.ops = nn.Sequential(*[VNet_LU(outChans) for _ in range(nConvs)])

        def forward(self, x, skipx):
            skipxdo = self.do2(skipx)
            out = self.relu1(self.bn1(self.up_conv(x)))
            xcat = torch.cat((out, skipxdo), 1)
            out = self.ops(xcat)
            out = self.relu2(torch.add(out, xcat))
            return out

    def __init__(self):
        super().__init__()
        self.conv1, self.bn1, self.relu1 = nn.Conv3d(1, 8, kernel_size=5, padding=2), nn.BatchNorm3d(8), nn.PReLU(8)
        self.down_tr32, self.down_tr64 = VNet_Down(8, 1), VNet_Down(16, 2, True)
        self.up_tr64, self.up_tr32 = VNet_Up(32, 32, 1), VNet_Up(32, 16, 1)
        self.out_conv1, self.out_bn1, self.out_conv2, self.out_relu = nn.Conv3d(16, 2, kernel_size=5, padding=2), nn.BatchNorm3d(2), nn.Conv3d(2, 2, kernel_size=1), nn.ELU(inplace=True)

    def forward(self, x, y):
        out = self.bn1(self.conv1(x))
        x16 = torch.cat((x, x, x, x, x, x, x, x), 1)
        out16 = self.relu1(torch.add(out, x16))
        out32 = self.down_tr32(out16)
        out64 = self.down_tr64(out32)
        out = self.up_tr64(out64, out32)
        out = self.up_tr32(out, out16)
        out = self.out_relu(self.out_bn1(self.out_conv1(out)))
        out = self.out_conv2(out)
        out = out.permute(0, 2, 3, 4, 1).contiguous()
        out = out.view(out.numel() // 2, 2)
        probs = F.softmax(out, dim=1)[:, 1]
        target = (y.view(-1) > 0).float()
        TP = (probs * target).sum()
        FP = ((1 - target) * probs).sum()
        FN = (target * (1 - probs)).sum()
        tversky = (TP + 1) / (TP + 0.7 * FP + 0.3 * FN + 1)
        return (1 - tversky) ** 0.75


VNet_LU, VNet_Down, VNet_Up = VNet.LUConv, VNet.Down, VNet.Up


@written(lambda b, n, device: dict(target=floats(b, 3, 64, 96, device=device), source=floats(b, 3, 64, 96, device=device), K=floats(b, 3, 3, device=device), inv_K=floats(b, 3, 3, device=device)))
class Monodepth(nn.Module):
    """self-supervised depth: sigmoid disparities, a pose network of axis angles, points projected and sampled, SSIM with L1, smoothness by edges"""
    class SSIM(nn.Module):
        def __init__(self):
            super().__init__()
            self.mu_x_pool, self.mu_y_pool = nn.AvgPool2d(3, 1), nn.AvgPool2d(3, 1)
            self.sig_x_pool, self.sig_y_pool, self.sig_xy_pool = nn.AvgPool2d(3, 1), nn.AvgPool2d(3, 1), nn.AvgPool2d(3, 1)
            self.refl, self.C1, self.C2 = nn.ReflectionPad2d(1), 0.01 ** 2, 0.03 ** 2

        def forward(self, x, y):
            x = self.refl(x)
            y = self.refl(y)
            mu_x = self.mu_x_pool(x)
            mu_y = self.mu_y_pool(y)
            sigma_x = self.sig_x_pool(x ** 2) - mu_x ** 2
            sigma_y = self.sig_y_pool(y ** 2) - mu_y ** 2
            sigma_xy = self.sig_xy_pool(x * y) - mu_x * mu_y
            SSIM_n = (2 * mu_x * mu_y + self.C1) * (2 * sigma_xy + self.C2)
            SSIM_d = (mu_x ** 2 + mu_y ** 2 + self.C1) * (sigma_x + sigma_y + self.C2)
            return torch.clamp((1 - SSIM_n / SSIM_d) / 2, 0, 1)

    def __init__(self):
        super().__init__()
        def conv(i, o, s): return nn.Sequential(nn.Conv2d(i, o, 3, s, 1), nn.BatchNorm2d(o), nn.ELU(inplace=True))
        self.encoder = nn.ModuleList([conv(3, 32, 2), conv(32, 64, 2), conv(64, 128, 2)])
        self.decoder = nn.ModuleDict({"upconv_2_0": nn.Sequential(nn.ReflectionPad2d(1), nn.Conv2d(128, 64, 3)), "upconv_2_1": nn.Sequential(nn.ReflectionPad2d(1), nn.Conv2d(128, 64, 3)),
                                      "upconv_1_0": nn.Sequential(nn.ReflectionPad2d(1), nn.Conv2d(64, 32, 3)), "upconv_1_1": nn.Sequential(nn.ReflectionPad2d(1), nn.Conv2d(64, 32, 3)),
                                      "upconv_0_0": nn.Sequential(nn.ReflectionPad2d(1), nn.Conv2d(32, 16, 3)), "upconv_0_1": nn.Sequential(nn.ReflectionPad2d(1), nn.Conv2d(16, 16, 3))})
        self.dispconv = nn.ModuleList([nn.Conv2d(16, 1, 3, padding=1), nn.Conv2d(32, 1, 3, padding=1)])
        self.pose = nn.Sequential(nn.Conv2d(6, 16, 7, 2, 3), nn.ReLU(True), nn.Conv2d(16, 32, 5, 2, 2), nn.ReLU(True), nn.Conv2d(32, 64, 3, 2, 1), nn.ReLU(True), nn.Conv2d(64, 6, 1))
        self.ssim, self.height, self.width = Depth_SSIM(), 64, 96
        meshgrid = torch.meshgrid(torch.arange(self.width), torch.arange(self.height), indexing="xy")
        self.id_coords = nn.Parameter(torch.stack(meshgrid, dim=0).float(), requires_grad=False)
        self.pix = nn.Parameter(torch.cat([self.id_coords.view(1, 2, -1), torch.ones(1, 1, self.height * self.width)], 1), requires_grad=False)

    def get_translation_matrix(self, t):
        T = torch.zeros(t.shape[0], 4, 4, device=t.device)
        T[:, 0, 0] = 1
        T[:, 1, 1] = 1
        T[:, 2, 2] = 1
        T[:, 3, 3] = 1
        T[:, :3, 3, None] = t.contiguous().view(-1, 3, 1).float()
        return T

    def compute_reprojection_loss(self, pred, target):
        abs_diff = torch.abs(target - pred)
        l1_loss = abs_diff.mean(1, True)
        ssim_loss = self.ssim(pred, target).mean(1, True)
        return 0.85 * ssim_loss + 0.15 * l1_loss

    def get_smooth_loss(self, disp, img):
        grad_disp_x = torch.abs(disp[:, :, :, :-1] - disp[:, :, :, 1:])
        grad_disp_y = torch.abs(disp[:, :, :-1, :] - disp[:, :, 1:, :])
        grad_img_x = torch.mean(torch.abs(img[:, :, :, :-1] - img[:, :, :, 1:]), 1, keepdim=True)
        grad_img_y = torch.mean(torch.abs(img[:, :, :-1, :] - img[:, :, 1:, :]), 1, keepdim=True)
        grad_disp_x *= torch.exp(-grad_img_x)
        grad_disp_y *= torch.exp(-grad_img_y)
        return grad_disp_x.mean() + grad_disp_y.mean()

    def forward(self, target, source, K, inv_K):
        b = target.shape[0]
        features, x = [], (target - 0.45) / 0.225
        for layer in self.encoder:
            x = layer(x)
            features.append(x)
        outputs = {}
        for i in range(2, -1, -1):
            x = F.elu(self.decoder[f"upconv_{i}_0"](x))
            x = [F.interpolate(x, scale_factor=2, mode="nearest")]
            if i > 0: x += [features[i - 1]]
            x = torch.cat(x, 1)
            x = F.elu(self.decoder[f"upconv_{i}_1"](x))
            if i < 2: outputs[("disp", i)] = torch.sigmoid(self.dispconv[i](x))
        pose = 0.01 * self.pose(torch.cat([target, source], 1)).mean(3).mean(2).view(-1, 2, 3)
        T = self.get_translation_matrix(pose[:, 0])
        loss = 0
        for scale in range(2):
            disp = F.interpolate(outputs[("disp", scale)], [self.height, self.width], mode="bilinear", align_corners=False)
            depth = 1 / (0.01 + (10 - 0.01) * disp)
            cam_points = torch.matmul(inv_K, self.pix.expand(b, -1, -1))
            cam_points = depth.view(b, 1, -1) * cam_points
            cam_points = torch.cat([cam_points, torch.ones(b, 1, self.height * self.width, device=depth.device)], 1)
            P = torch.matmul(K, T[:, :3, :])
            cam = torch.matmul(P, cam_points)
            pix_coords = cam[:, :2, :] / (cam[:, 2, :].unsqueeze(1) + 1e-7)
            pix_coords = pix_coords.view(b, 2, self.height, self.width)
            pix_coords = pix_coords.permute(0, 2, 3, 1)
            pix_coords = (torch.stack([pix_coords[..., 0] / (self.width - 1), pix_coords[..., 1] / (self.height - 1)], -1) - 0.5) * 2
            warped = F.grid_sample(source, pix_coords.float(), padding_mode="border", align_corners=False)
            reprojection_loss = self.compute_reprojection_loss(warped, target)
            identity_loss = self.compute_reprojection_loss(source, target)
            identity_loss = identity_loss + torch.randn(identity_loss.shape, device=target.device) * 0.00001
            combined = torch.cat((identity_loss, reprojection_loss), dim=1)
            to_optimise, idxs = torch.min(combined, dim=1)
            loss += to_optimise.mean()
            mean_disp = disp.mean(2, True).mean(3, True)
            norm_disp = disp / (mean_disp + 1e-7)
            loss += 1e-3 * self.get_smooth_loss(norm_disp, target) / (2 ** scale)
        return loss / 2


Depth_SSIM = Monodepth.SSIM


@written(lambda b, n, device: dict(image1=floats(b, 3, 96, 96, device=device), image2=floats(b, 3, 96, 96, device=device), flow_gt=floats(b, 2, 96, 96, device=device)))
class RAFT(nn.Module):
    """all-pairs correlation, a pyramid looked up around moving coordinates, ConvGRU, convex upsampling by unfold; losses of all iterations"""
    def __init__(self, hdim=48, cdim=48, radius=2, levels=2):
        super().__init__()
        self.hdim, self.cdim, self.radius, self.levels = hdim, cdim, radius, levels
        def enc(o, norm): return nn.Sequential(nn.Conv2d(3, 32, 7, 2, 3), norm(32), nn.ReLU(inplace=True), nn.Conv2d(32, 48, 3, 2, 1), norm(48), nn.ReLU(inplace=True), nn.Conv2d(48, 64, 3, 2, 1), norm(64), nn.ReLU(inplace=True), nn.Conv2d(64, o, 1))
        self.fnet, self.cnet = enc(96, nn.InstanceNorm2d), enc(hdim + cdim, nn.BatchNorm2d)
        cor_planes = levels * (2 * radius + 1) ** 2
        self.convc1, self.convf1, self.convf2, self.conv = nn.Conv2d(cor_planes, 64, 1), nn.Conv2d(2, 32, 7, padding=3), nn.Conv2d(32, 32, 3, padding=1), nn.Conv2d(96, 46, 3, padding=1)
        self.convz, self.convr, self.convq = (nn.Conv2d(hdim + cdim + 48, hdim, 3, padding=1) for _ in range(3))
        self.flow_head, self.mask = nn.Sequential(nn.Conv2d(hdim, 64, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(64, 2, 3, padding=1)), nn.Sequential(nn.Conv2d(hdim, 64, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(64, 64 * 9, 1))

    def coords_grid(self, batch, ht, wd, device):
        coords = torch.meshgrid(torch.arange(ht, device=device), torch.arange(wd, device=device), indexing="ij")
        coords = torch.stack(coords[::-1], dim=0).float()
        return coords[None].repeat(batch, 1, 1, 1)

    def lookup(self, pyramid, coords):
        r = self.radius
        coords = coords.permute(0, 2, 3, 1)
        batch, h1, w1, _ = coords.shape
        out_pyramid = []
        for i in range(self.levels):
            corr = pyramid[i]
            dx, dy = torch.linspace(-r, r, 2 * r + 1, device=coords.device), torch.linspace(-r, r, 2 * r + 1, device=coords.device)
            delta = torch.stack(torch.meshgrid(dy, dx, indexing="ij"), axis=-1)
            centroid_lvl = coords.reshape(batch * h1 * w1, 1, 1, 2) / 2 ** i
            coords_lvl = centroid_lvl + delta.view(1, 2 * r + 1, 2 * r + 1, 2)
            H, W = corr.shape[-2:]
            xgrid, ygrid = coords_lvl.split([1, 1], dim=-1)
            xgrid = (2 * xgrid + 1) / W - 1
            ygrid = (2 * ygrid + 1) / H - 1
            corr = F.grid_sample(corr, torch.cat([xgrid, ygrid], dim=-1), align_corners=False)
            out_pyramid.append(corr.view(batch, h1, w1, -1))
        out = torch.cat(out_pyramid, dim=-1)
        return out.permute(0, 3, 1, 2).contiguous().float()

    def upsample_flow(self, flow, mask):
        N, _, H, W = flow.shape
        mask = mask.view(N, 1, 9, 8, 8, H, W)
        mask = torch.softmax(mask, dim=2)
        up_flow = F.unfold(8 * flow, [3, 3], padding=1)
        up_flow = up_flow.view(N, 2, 9, 1, 1, H, W)
        up_flow = torch.sum(mask * up_flow, dim=2)
        up_flow = up_flow.permute(0, 1, 4, 2, 5, 3)
        return up_flow.reshape(N, 2, 8 * H, 8 * W)

    def forward(self, image1, image2, flow_gt):
        image1 = 2 * (image1 / 255.0) - 1.0
        image2 = 2 * (image2 / 255.0) - 1.0
        fmap1, fmap2 = torch.split(self.fnet(torch.cat([image1, image2], dim=0)), [image1.shape[0], image2.shape[0]], dim=0)
        fmap1, fmap2 = fmap1.float(), fmap2.float()
        batch, dim, ht, wd = fmap1.shape
        corr = torch.matmul(fmap1.view(batch, dim, ht * wd).transpose(1, 2), fmap2.view(batch, dim, ht * wd))
        corr = corr.view(batch, ht, wd, 1, ht, wd) / torch.sqrt(torch.tensor(dim).float())
        corr = corr.reshape(batch * ht * wd, 1, ht, wd)
        pyramid = [corr]
        for i in range(self.levels - 1):
            corr = F.avg_pool2d(corr, 2, stride=2)
            pyramid.append(corr)
        net, inp = torch.split(self.cnet(image1), [self.hdim, self.cdim], dim=1)
        net = torch.tanh(net)
        inp = torch.relu(inp)
        coords0, coords1 = self.coords_grid(batch, ht, wd, image1.device), self.coords_grid(batch, ht, wd, image1.device)
        flow_loss, iters = 0.0, 3
        for itr in range(iters):
            coords1 = coords1.detach()
            corr = self.lookup(pyramid, coords1)
            flow = coords1 - coords0
            cor = F.relu(self.convc1(corr))
            flo = F.relu(self.convf1(flow))
            flo = F.relu(self.convf2(flo))
            motion = torch.cat([F.relu(self.conv(torch.cat([cor, flo], dim=1))), flow], dim=1)
            x = torch.cat([inp, motion], dim=1)
            hx = torch.cat([net, x], dim=1)
            z = torch.sigmoid(self.convz(hx))
            r = torch.sigmoid(self.convr(hx))
            q = torch.tanh(self.convq(torch.cat([r * net, x], dim=1)))
            net = (1 - z) * net + z * q
            coords1 = coords1 + self.flow_head(net)
            flow_up = self.upsample_flow(coords1 - coords0, 0.25 * self.mask(net))
            i_loss = (flow_up - flow_gt).abs()
            flow_loss += 0.8 ** (iters - itr - 1) * i_loss.mean()
        return flow_loss


# ---------------------------------------------------------------- video

@written(clips(8, 56))
class R2Plus1D(nn.Module):
    class SpatioTemporalConv(nn.Module):
        def __init__(self, in_channels, out_channels, kernel_size, stride=1, padding=0):
            super().__init__()
            k, s, p = kernel_size, stride, padding
            intermed_channels = int(math.floor((k * k * k * in_channels * out_channels) / (k * k * in_channels + k * out_channels)))
            self.spatial_conv, self.bn, self.relu = nn.Conv3d(in_channels, intermed_channels, (1, k, k), stride=(1, s, s), padding=(0, p, p), bias=False), nn.BatchNorm3d(intermed_channels), nn.ReLU()
            self.temporal_conv = nn.Conv3d(intermed_channels, out_channels, (k, 1, 1), stride=(s, 1, 1), padding=(p, 0, 0), bias=False)

        def forward(self, x):
            x = self.relu(self.bn(self.spatial_conv(x)))
            x = self.temporal_conv(x)
            return x

    class Block(nn.Module):
        def __init__(self, i, o, downsample=False):
            super().__init__()
            self.downsample = downsample
            if self.downsample: self.downsampleconv, self.downsamplebn = STConv(i, o, 1, stride=2), nn.BatchNorm3d(o)
            self.conv1, self.bn1, self.relu1 = STConv(i, o, 3, padding=1, stride=2 if downsample else 1), nn.BatchNorm3d(o), nn.ReLU()
            self.conv2, self.bn2, self.outrelu = STConv(o, o, 3, padding=1), nn.BatchNorm3d(o), nn.ReLU()

        def forward(self, x):
            res = self.relu1(self.bn1(self.conv1(x)))
            res = self.bn2(self.conv2(res))
            if self.downsample: x = self.downsamplebn(self.downsampleconv(x))
            return self.outrelu(x + res)

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Sequential(nn.Conv3d(3, 32, (3, 7, 7), (1, 2, 2), (1, 3, 3), bias=False), nn.BatchNorm3d(32), nn.ReLU())
        self.conv2, self.conv3, self.conv4 = R2_Block(32, 32), R2_Block(32, 64, downsample=True), R2_Block(64, 128, downsample=True)
        self.pool, self.linear = nn.AdaptiveAvgPool3d(1), nn.Linear(128, 400)

    def forward(self, x, y):
        x = self.conv4(self.conv3(self.conv2(self.conv1(x))))
        x = self.pool(x)
        x = x.view(-1, 128)
        return F.cross_entropy(self.linear(x), y)


STConv, R2_Block = R2Plus1D.SpatioTemporalConv, R2Plus1D.Block


@written(clips(8, 64))
class I3D(nn.Module):
    """inception blocks of four branches, end points by name, padding computed as TensorFlow does"""
    class MaxPool3dSame(nn.MaxPool3d):
        def compute_pad(self, dim, s):
            if s % self.stride[dim] == 0: return max(self.kernel_size[dim] - self.stride[dim], 0)
            else: return max(self.kernel_size[dim] - (s % self.stride[dim]), 0)

        def forward(self, x):
            (batch, channel, t, h, w) = x.size()
            pad_t, pad_h, pad_w = self.compute_pad(0, t), self.compute_pad(1, h), self.compute_pad(2, w)
            pad = (pad_w // 2, pad_w - pad_w // 2, pad_h // 2, pad_h - pad_h // 2, pad_t // 2, pad_t - pad_t // 2)
            x = F.pad(x, pad)
            return super().forward(x)

    class Unit3D(nn.Module):
        def __init__(self, i, o, kernel_shape=(1, 1, 1), stride=(1, 1, 1)):
            super().__init__()
            self._kernel_shape, self._stride = kernel_shape, stride
            self.conv3d, self.bn = nn.Conv3d(i, o, kernel_shape, stride, padding=0, bias=False), nn.BatchNorm3d(o, eps=0.001, momentum=0.01)

        def forward(self, x):
            pads = []
            for k, s, n in list(zip(self._kernel_shape, self._stride, x.shape[2:]))[::-1]:
                p = max(k - s, 0) if n % s == 0 else max(k - (n % s), 0)
                pads += [p // 2, p - p // 2]
            x = F.pad(x, pads)
            x = self.conv3d(x)
            x = self.bn(x)
            return F.relu(x)

    class Inception(nn.Module):
        def __init__(self, i, o):
            super().__init__()
            self.b0, self.b1a, self.b1b = Unit3D(i, o[0]), Unit3D(i, o[1]), Unit3D(o[1], o[2], (3, 3, 3))
            self.b2a, self.b2b, self.b3a, self.b3b = Unit3D(i, o[3]), Unit3D(o[3], o[4], (3, 3, 3)), MaxPool3dSame((3, 3, 3), (1, 1, 1), padding=0), Unit3D(i, o[5])

        def forward(self, x):
            b0 = self.b0(x)
            b1 = self.b1b(self.b1a(x))
            b2 = self.b2b(self.b2a(x))
            b3 = self.b3b(self.b3a(x))
            return torch.cat([b0, b1, b2, b3], dim=1)

    def __init__(self):
        super().__init__()
        self.end_points = OrderedDict()
        self.end_points["Conv3d_1a_7x7"] = Unit3D(3, 32, (7, 7, 7), (2, 2, 2))
        self.end_points["MaxPool3d_2a_3x3"] = MaxPool3dSame((1, 3, 3), (1, 2, 2), padding=0)
        self.end_points["Mixed_3b"] = I3D_Inception(32, [16, 24, 32, 4, 8, 8])
        self.end_points["Mixed_3c"] = I3D_Inception(64, [32, 32, 48, 8, 24, 16])
        self.end_points["MaxPool3d_4a_3x3"] = MaxPool3dSame((3, 3, 3), (2, 2, 2), padding=0)
        self.end_points["Mixed_4b"] = I3D_Inception(120, [48, 24, 52, 4, 12, 16])
        for k in self.end_points.keys(): self.add_module(k, self.end_points[k])
        self.avg_pool, self.dropout, self.logits = nn.AvgPool3d(kernel_size=[2, 8, 8], stride=(1, 1, 1)), nn.Dropout(0.5), nn.Conv3d(128, 157, 1)

    def forward(self, x, y):
        for end_point in self.end_points: x = self._modules[end_point](x)
        x = self.logits(self.dropout(self.avg_pool(x)))
        logits = x.squeeze(3).squeeze(3)
        return F.cross_entropy(logits.mean(2), y % 157)


MaxPool3dSame, Unit3D, I3D_Inception = I3D.MaxPool3dSame, I3D.Unit3D, I3D.Inception


@written(lambda b, n, device: dict(x=floats(b, 10, 1, 32, 32, device=device), y=floats(b, 5, 1, 32, 32, device=device)))
class ConvLSTM(nn.Module):
    """moving digits: cells by layer then by time, states in lists, an encoder and a forecaster fed by its own output"""
    class Cell(nn.Module):
        def __init__(self, input_dim, hidden_dim, kernel_size=(3, 3)):
            super().__init__()
            self.hidden_dim = hidden_dim
            self.conv = nn.Conv2d(input_dim + hidden_dim, 4 * hidden_dim, kernel_size, padding=(kernel_size[0] // 2, kernel_size[1] // 2), bias=True)

        def forward(self, input_tensor, cur_state):
            h_cur, c_cur = cur_state
            combined = torch.cat([input_tensor, h_cur], dim=1)
            combined_conv = self.conv(combined)
            cc_i, cc_f, cc_o, cc_g = torch.split(combined_conv, self.hidden_dim, dim=1)
            i = torch.sigmoid(cc_i)
            f = torch.sigmoid(cc_f)
            o = torch.sigmoid(cc_o)
            g = torch.tanh(cc_g)
            c_next = f * c_cur + i * g
            h_next = o * torch.tanh(c_next)
            return h_next, c_next

        def init_hidden(self, batch_size, image_size):
            height, width = image_size
            return (torch.zeros(batch_size, self.hidden_dim, height, width, device=self.conv.weight.device), torch.zeros(batch_size, self.hidden_dim, height, width, device=self.conv.weight.device))

    def __init__(self):
        super().__init__()
        self.cell_list, self.decoder = nn.ModuleList([ConvLSTM_Cell(1, 32), ConvLSTM_Cell(32, 32)]), ConvLSTM_Cell(1, 32)
        self.out = nn.Conv2d(32, 1, 1)

    def forward(self, x, y):
        b, seq_len, _, h, w = x.size()
        cur_layer_input, last_state_list = x, []
        for cell in self.cell_list:
            hs, c = cell.init_hidden(b, (h, w))
            output_inner = []
            for t in range(seq_len):
                hs, c = cell(input_tensor=cur_layer_input[:, t, :, :, :], cur_state=[hs, c])
                output_inner.append(hs)
            layer_output = torch.stack(output_inner, dim=1)
            cur_layer_input = layer_output
            last_state_list.append([hs, c])
        state, frame, outputs = last_state_list[-1], x[:, -1], []
        for t in range(y.size(1)):
            state = self.decoder(frame, state)
            frame = torch.sigmoid(self.out(state[0]))
            outputs += [frame]
        return F.mse_loss(torch.stack(outputs, 1), y) + (torch.stack(outputs, 1) - y).abs().mean()


ConvLSTM_Cell = ConvLSTM.Cell


# ---------------------------------------------------------------- classifiers written by hand

def _make_divisible(v, divisor, min_value=None):
    if min_value is None: min_value = divisor
    new_v = max(min_value, int(v + divisor / 2) // divisor * divisor)
    if new_v < 0.9 * v: new_v += divisor
    return new_v


@written(pictures(96))
class MobileNetV2(nn.Module):
    class InvertedResidual(nn.Module):
        def __init__(self, inp, oup, stride, expand_ratio):
            super().__init__()
            hidden_dim = round(inp * expand_ratio)
            self.identity = stride == 1 and inp == oup
            if expand_ratio == 1:
                self.conv = nn.Sequential(nn.Conv2d(hidden_dim, hidden_dim, 3, stride, 1, groups=hidden_dim, bias=False), nn.BatchNorm2d(hidden_dim), nn.ReLU6(inplace=True), nn.Conv2d(hidden_dim, oup, 1, 1, 0, bias=False), nn.BatchNorm2d(oup))
            else:
                self.conv = nn.Sequential(nn.Conv2d(inp, hidden_dim, 1, 1, 0, bias=False), nn.BatchNorm2d(hidden_dim), nn.ReLU6(inplace=True),
                                          nn.Conv2d(hidden_dim, hidden_dim, 3, stride, 1, groups=hidden_dim, bias=False), nn.BatchNorm2d(hidden_dim), nn.ReLU6(inplace=True), nn.Conv2d(hidden_dim, oup, 1, 1, 0, bias=False), nn.BatchNorm2d(oup))

        def forward(self, x):
            if self.identity: return x + self.conv(x)
            else: return self.conv(x)

    def __init__(self, width_mult=0.5):
        super().__init__()
        self.cfgs = [[1, 16, 1, 1], [6, 24, 2, 2], [6, 32, 2, 2], [6, 64, 2, 2], [6, 96, 1, 1], [6, 160, 2, 2]]
        input_channel = _make_divisible(32 * width_mult, 8)
        layers = [nn.Sequential(nn.Conv2d(3, input_channel, 3, 2, 1, bias=False), nn.BatchNorm2d(input_channel), nn.ReLU6(inplace=True))]
        for t, c, n, s in self.cfgs:
            output_channel = _make_divisible(c * width_mult, 8)
            for i in range(n):
                layers.append(MBV2_Block(input_channel, output_channel, s if i == 0 else 1, t))
                input_channel = output_channel
        self.features = nn.Sequential(*layers)
        self.conv = nn.Sequential(nn.Conv2d(input_channel, 640, 1, 1, 0, bias=False), nn.BatchNorm2d(640), nn.ReLU6(inplace=True))
        self.avgpool, self.classifier = nn.AdaptiveAvgPool2d((1, 1)), nn.Linear(640, 1000)
        for m in self.modules():
            if isinstance(m, nn.Conv2d):
                n = m.kernel_size[0] * m.kernel_size[1] * m.out_channels
                m.weight.data.normal_(0, math.sqrt(2.0 / n))
            elif isinstance(m, nn.Linear):
                m.weight.data.normal_(0, 0.01)
                m.bias.data.zero_()

    def forward(self, x, y):
        x = self.features(x)
        x = self.conv(x)
        x = self.avgpool(x)
        x = x.view(x.size(0), -1)
        x = self.classifier(x)
        return F.cross_entropy(x, y)


MBV2_Block = MobileNetV2.InvertedResidual


@written(pictures(96))
class ShuffleNet(nn.Module):
    """the second: channel split by strided indexing of a reshaped tensor, as its authors write it"""
    class Block(nn.Module):
        def __init__(self, inp, oup, mid_channels, *, ksize, stride):
            super().__init__()
            self.stride, self.mid_channels, self.ksize, pad = stride, mid_channels, ksize, ksize // 2
            outputs = oup - inp
            self.branch_main = nn.Sequential(nn.Conv2d(inp, mid_channels, 1, 1, 0, bias=False), nn.BatchNorm2d(mid_channels), nn.ReLU(inplace=True), nn.Conv2d(mid_channels, mid_channels, ksize, stride, pad, groups=mid_channels, bias=False),
                                             nn.BatchNorm2d(mid_channels), nn.Conv2d(mid_channels, outputs, 1, 1, 0, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))
            if stride == 2:
                self.branch_proj = nn.Sequential(nn.Conv2d(inp, inp, ksize, stride, pad, groups=inp, bias=False), nn.BatchNorm2d(inp), nn.Conv2d(inp, inp, 1, 1, 0, bias=False), nn.BatchNorm2d(inp), nn.ReLU(inplace=True))
            else: self.branch_proj = None

        def forward(self, old_x):
            if self.stride == 1:
                x_proj, x = self.channel_shuffle(old_x)
                return torch.cat((x_proj, self.branch_main(x)), 1)
            elif self.stride == 2:
                x_proj = old_x
                x = old_x
                return torch.cat((self.branch_proj(x_proj), self.branch_main(x)), 1)

        def channel_shuffle(self, x):
            batchsize, num_channels, height, width = x.data.size()
            x = x.reshape(batchsize * num_channels // 2, 2, height * width)
            x = x.permute(1, 0, 2)
            x = x.reshape(2, -1, num_channels // 2, height, width)
            return x[0], x[1]

    def __init__(self):
        super().__init__()
        self.first_conv = nn.Sequential(nn.Conv2d(3, 24, 3, 2, 1, bias=False), nn.BatchNorm2d(24), nn.ReLU(inplace=True))
        self.maxpool, features, inp = nn.MaxPool2d(kernel_size=3, stride=2, padding=1), [], 24
        for repeats, out in zip([2, 3, 2], [48, 96, 192]):
            for i in range(repeats):
                features.append(Shuffle_Block(inp, out, mid_channels=out // 2, ksize=3, stride=2) if i == 0 else Shuffle_Block(inp // 2, out, mid_channels=out // 2, ksize=3, stride=1))
                inp = out
        self.features = nn.Sequential(*features)
        self.conv_last = nn.Sequential(nn.Conv2d(192, 512, 1, 1, 0, bias=False), nn.BatchNorm2d(512), nn.ReLU(inplace=True))
        self.globalpool, self.dropout, self.classifier = nn.AvgPool2d(3), nn.Dropout(0.2), nn.Sequential(nn.Linear(512, 1000, bias=False))

    def forward(self, x, y):
        x = self.first_conv(x)
        x = self.maxpool(x)
        x = self.features(x)
        x = self.conv_last(x)
        x = self.globalpool(x)
        x = self.dropout(x)
        x = x.contiguous().view(-1, 512)
        x = self.classifier(x)
        return nn.CrossEntropyLoss()(x, y)


Shuffle_Block = ShuffleNet.Block


@written(pictures(96))
class SqueezeNet(nn.Module):
    class Fire(nn.Module):
        def __init__(self, inplanes, squeeze_planes, expand1x1_planes, expand3x3_planes):
            super().__init__()
            self.inplanes = inplanes
            self.squeeze, self.squeeze_activation = nn.Conv2d(inplanes, squeeze_planes, kernel_size=1), nn.ReLU(inplace=True)
            self.expand1x1, self.expand1x1_activation = nn.Conv2d(squeeze_planes, expand1x1_planes, kernel_size=1), nn.ReLU(inplace=True)
            self.expand3x3, self.expand3x3_activation = nn.Conv2d(squeeze_planes, expand3x3_planes, kernel_size=3, padding=1), nn.ReLU(inplace=True)

        def forward(self, x):
            x = self.squeeze_activation(self.squeeze(x))
            return torch.cat([self.expand1x1_activation(self.expand1x1(x)), self.expand3x3_activation(self.expand3x3(x))], 1)

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 64, kernel_size=3, stride=2), nn.ReLU(inplace=True), nn.MaxPool2d(kernel_size=3, stride=2, ceil_mode=True), Fire(64, 16, 64, 64), Fire(128, 16, 64, 64),
                                      nn.MaxPool2d(kernel_size=3, stride=2, ceil_mode=True), Fire(128, 32, 128, 128), Fire(256, 32, 128, 128), nn.MaxPool2d(kernel_size=3, stride=2, ceil_mode=True), Fire(256, 48, 192, 192))
        final_conv = nn.Conv2d(384, 1000, kernel_size=1)
        self.classifier = nn.Sequential(nn.Dropout(p=0.5), final_conv, nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d((1, 1)))

    def forward(self, x, y):
        x = self.features(x)
        x = self.classifier(x)
        x = torch.flatten(x, 1)
        return F.cross_entropy(x, y)


Fire = SqueezeNet.Fire


@written(pictures(64))
class GhostNet(nn.Module):
    """cheap features by grouped convolutions, slices of what is too wide, squeeze and excite with hard sigmoid"""
    class Ghost(nn.Module):
        def __init__(self, inp, oup, kernel_size=1, ratio=2, dw_size=3, stride=1, relu=True):
            super().__init__()
            self.oup = oup
            init_channels = math.ceil(oup / ratio)
            new_channels = init_channels * (ratio - 1)
            self.primary_conv = nn.Sequential(nn.Conv2d(inp, init_channels, kernel_size, stride, kernel_size // 2, bias=False), nn.BatchNorm2d(init_channels), nn.ReLU(inplace=True) if relu else nn.Sequential())
            self.cheap_operation = nn.Sequential(nn.Conv2d(init_channels, new_channels, dw_size, 1, dw_size // 2, groups=init_channels, bias=False), nn.BatchNorm2d(new_channels), nn.ReLU(inplace=True) if relu else nn.Sequential())

        def forward(self, x):
            x1 = self.primary_conv(x)
            x2 = self.cheap_operation(x1)
            out = torch.cat([x1, x2], dim=1)
            return out[:, :self.oup, :, :]

    class SE(nn.Module):
        def __init__(self, c):
            super().__init__()
            self.avg_pool, self.conv_reduce, self.act1, self.conv_expand = nn.AdaptiveAvgPool2d(1), nn.Conv2d(c, c // 4, 1, bias=True), nn.ReLU(inplace=True), nn.Conv2d(c // 4, c, 1, bias=True)

        def forward(self, x):
            x_se = self.avg_pool(x)
            x_se = self.conv_reduce(x_se)
            x_se = self.act1(x_se)
            x_se = self.conv_expand(x_se)
            x = x * (F.relu6(x_se + 3.0) / 6.0)
            return x

    class Bottleneck(nn.Module):
        def __init__(self, i, mid, o, k=3, stride=1, se=False):
            super().__init__()
            self.stride, self.ghost1 = stride, Ghost(i, mid, relu=True)
            if stride > 1: self.conv_dw, self.bn_dw = nn.Conv2d(mid, mid, k, stride=stride, padding=(k - 1) // 2, groups=mid, bias=False), nn.BatchNorm2d(mid)
            self.se, self.ghost2 = Ghost_SE(mid) if se else None, Ghost(mid, o, relu=False)
            self.shortcut = nn.Sequential() if i == o and stride == 1 else nn.Sequential(nn.Conv2d(i, i, k, stride=stride, padding=(k - 1) // 2, groups=i, bias=False), nn.BatchNorm2d(i), nn.Conv2d(i, o, 1, bias=False), nn.BatchNorm2d(o))

        def forward(self, x):
            residual = x
            x = self.ghost1(x)
            if self.stride > 1:
                x = self.conv_dw(x)
                x = self.bn_dw(x)
            if self.se is not None: x = self.se(x)
            x = self.ghost2(x)
            x += self.shortcut(residual)
            return x

    def __init__(self):
        super().__init__()
        self.conv_stem, self.bn1, self.act1 = nn.Conv2d(3, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU(inplace=True)
        self.blocks = nn.Sequential(Ghost_Bottleneck(16, 16, 16), Ghost_Bottleneck(16, 49, 24, stride=2), Ghost_Bottleneck(24, 72, 24), Ghost_Bottleneck(24, 72, 40, 5, 2, True), Ghost_Bottleneck(40, 121, 40, 5, 1, True))
        self.global_pool, self.conv_head, self.act2, self.classifier = nn.AdaptiveAvgPool2d((1, 1)), nn.Conv2d(40, 320, 1, 1, 0, bias=True), nn.ReLU(inplace=True), nn.Linear(320, 1000)

    def forward(self, x, y):
        x = self.act1(self.bn1(self.conv_stem(x)))
        x = self.blocks(x)
        x = self.global_pool(x)
        x = self.act2(self.conv_head(x))
        x = x.view(x.size(0), -1)
        x = F.dropout(x, p=0.2, training=self.training)
        return F.cross_entropy(self.classifier(x), y)


Ghost, Ghost_SE, Ghost_Bottleneck = GhostNet.Ghost, GhostNet.SE, GhostNet.Bottleneck


@written(pictures(32))
class WideResNet(nn.Module):
    """pre-activations shared between branch and shortcut, dropout inside, the whole residual in one line"""
    class BasicBlock(nn.Module):
        def __init__(self, in_planes, out_planes, stride, dropRate=0.3):
            super().__init__()
            self.bn1, self.relu1, self.conv1 = nn.BatchNorm2d(in_planes), nn.ReLU(inplace=True), nn.Conv2d(in_planes, out_planes, kernel_size=3, stride=stride, padding=1, bias=False)
            self.bn2, self.relu2, self.conv2 = nn.BatchNorm2d(out_planes), nn.ReLU(inplace=True), nn.Conv2d(out_planes, out_planes, kernel_size=3, stride=1, padding=1, bias=False)
            self.droprate, self.equalInOut = dropRate, in_planes == out_planes
            self.convShortcut = (not self.equalInOut) and nn.Conv2d(in_planes, out_planes, kernel_size=1, stride=stride, padding=0, bias=False) or None

        def forward(self, x):
            if not self.equalInOut: x = self.relu1(self.bn1(x))
            else: out = self.relu1(self.bn1(x))
            out = self.relu2(self.bn2(self.conv1(out if self.equalInOut else x)))
            if self.droprate > 0: out = F.dropout(out, p=self.droprate, training=self.training)
            out = self.conv2(out)
            return torch.add(x if self.equalInOut else self.convShortcut(x), out)

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, kernel_size=3, stride=1, padding=1, bias=False)
        self.block1 = nn.Sequential(Wide_Block(16, 64, 1), Wide_Block(64, 64, 1))
        self.block2 = nn.Sequential(Wide_Block(64, 128, 2), Wide_Block(128, 128, 1))
        self.block3 = nn.Sequential(Wide_Block(128, 256, 2))
        self.bn1, self.relu, self.fc, self.nChannels = nn.BatchNorm2d(256), nn.ReLU(inplace=True), nn.Linear(256, 100), 256

    def forward(self, x, y):
        out = self.conv1(x)
        out = self.block1(out)
        out = self.block2(out)
        out = self.block3(out)
        out = self.relu(self.bn1(out))
        out = F.avg_pool2d(out, 8)
        out = out.view(-1, self.nChannels)
        return F.cross_entropy(self.fc(out), y)


Wide_Block = WideResNet.BasicBlock


@written(pictures(64))
class EfficientNet(nn.Module):
    """MBConv with swish written out, drop connect by floor of random, static same padding"""
    class SameConv(nn.Conv2d):
        def __init__(self, i, o, k, image_size, stride=1, **kw):
            super().__init__(i, o, k, stride, **kw)
            oh = math.ceil(image_size / stride)
            pad = max((oh - 1) * stride + (k - 1) + 1 - image_size, 0)
            self.static_padding = nn.ZeroPad2d((pad // 2, pad - pad // 2, pad // 2, pad - pad // 2)) if pad > 0 else nn.Identity()

        def forward(self, x):
            x = self.static_padding(x)
            return F.conv2d(x, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)

    class MBConv(nn.Module):
        def __init__(self, i, o, k, s, e, size):
            super().__init__()
            self.expand, oup = e != 1, i * e
            if self.expand: self._expand_conv, self._bn0 = EffConv(i, oup, 1, size, bias=False), nn.BatchNorm2d(oup, momentum=0.01, eps=1e-3)
            self._depthwise_conv, self._bn1 = EffConv(oup, oup, k, size, s, groups=oup, bias=False), nn.BatchNorm2d(oup, momentum=0.01, eps=1e-3)
            sq = max(1, i // 4)
            self._se_reduce, self._se_expand = nn.Conv2d(oup, sq, 1), nn.Conv2d(sq, oup, 1)
            self._project_conv, self._bn2, self.id_skip = EffConv(oup, o, 1, size // s, bias=False), nn.BatchNorm2d(o, momentum=0.01, eps=1e-3), s == 1 and i == o

        def forward(self, inputs, drop_connect_rate=None):
            x = inputs
            if self.expand:
                x = self._expand_conv(inputs)
                x = self._bn0(x)
                x = x * torch.sigmoid(x)
            x = self._depthwise_conv(x)
            x = self._bn1(x)
            x = x * torch.sigmoid(x)
            x_squeezed = F.adaptive_avg_pool2d(x, 1)
            x_squeezed = self._se_reduce(x_squeezed)
            x_squeezed = x_squeezed * torch.sigmoid(x_squeezed)
            x_squeezed = self._se_expand(x_squeezed)
            x = torch.sigmoid(x_squeezed) * x
            x = self._bn2(self._project_conv(x))
            if self.id_skip:
                if drop_connect_rate: x = self.drop_connect(x, p=drop_connect_rate)
                x = x + inputs
            return x

        def drop_connect(self, inputs, p):
            if not self.training: return inputs
            batch_size = inputs.shape[0]
            keep_prob = 1 - p
            random_tensor = keep_prob
            random_tensor += torch.rand([batch_size, 1, 1, 1], dtype=inputs.dtype, device=inputs.device)
            binary_tensor = torch.floor(random_tensor)
            output = inputs / keep_prob * binary_tensor
            return output

    def __init__(self):
        super().__init__()
        self._conv_stem, self._bn0 = EffConv(3, 32, 3, 64, 2, bias=False), nn.BatchNorm2d(32, momentum=0.01, eps=1e-3)
        self._blocks = nn.ModuleList([MBConv(32, 16, 3, 1, 1, 32), MBConv(16, 24, 3, 2, 6, 32), MBConv(24, 24, 3, 1, 6, 16), MBConv(24, 40, 5, 2, 6, 16), MBConv(40, 40, 5, 1, 6, 8)])
        self._conv_head, self._bn1, self._dropout, self._fc = EffConv(40, 320, 1, 8, bias=False), nn.BatchNorm2d(320, momentum=0.01, eps=1e-3), nn.Dropout(0.2), nn.Linear(320, 1000)

    def forward(self, x, y):
        x = self._bn0(self._conv_stem(x))
        x = x * torch.sigmoid(x)
        for idx, block in enumerate(self._blocks):
            drop_connect_rate = 0.2
            drop_connect_rate *= float(idx) / len(self._blocks)
            x = block(x, drop_connect_rate=drop_connect_rate)
        x = self._bn1(self._conv_head(x))
        x = x * torch.sigmoid(x)
        x = F.adaptive_avg_pool2d(x, 1)
        x = x.flatten(start_dim=1)
        x = self._dropout(x)
        return F.cross_entropy(self._fc(x), y)


EffConv, MBConv = EfficientNet.SameConv, EfficientNet.MBConv


# ---------------------------------------------------------------- patches

@written(pictures(64))
class ConvMixer(nn.Module):
    """the whole network in the length of a tweet"""
    def __init__(self, dim=128, depth=4, kernel_size=9, patch_size=4):
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(3, dim, kernel_size=patch_size, stride=patch_size), nn.GELU(), nn.BatchNorm2d(dim),
                                 *[nn.Sequential(Residual(nn.Sequential(nn.Conv2d(dim, dim, kernel_size, groups=dim, padding="same"), nn.GELU(), nn.BatchNorm2d(dim))), nn.Conv2d(dim, dim, kernel_size=1), nn.GELU(), nn.BatchNorm2d(dim)) for i in range(depth)],
                                 nn.AdaptiveAvgPool2d((1, 1)), nn.Flatten(), nn.Linear(dim, 1000))

    def forward(self, x, y): return F.cross_entropy(self.net(x), y)


@written(pictures(64))
class GMLP(nn.Module):
    """spatial gating units: a Conv1d over the sequence, stochastic survival left out"""
    class SGU(nn.Module):
        def __init__(self, dim, dim_seq):
            super().__init__()
            dim_out = dim // 2
            self.norm, self.proj = nn.LayerNorm(dim_out), nn.Conv1d(dim_seq, dim_seq, 1)
            nn.init.uniform_(self.proj.weight, -1e-3 / dim_seq, 1e-3 / dim_seq)
            nn.init.constant_(self.proj.bias, 1.0)

        def forward(self, x):
            res, gate = x.chunk(2, dim=-1)
            gate = self.norm(gate)
            gate = self.proj(gate)
            return gate * res

    class Block(nn.Module):
        def __init__(self, dim=128, ff=512, n=64):
            super().__init__()
            self.norm, self.proj_in, self.sgu, self.proj_out = nn.LayerNorm(dim), nn.Sequential(nn.Linear(dim, ff), nn.GELU()), GMLP_SGU(ff, n), nn.Linear(ff // 2, dim)

        def forward(self, x):
            shortcut = x
            x = self.norm(x)
            x = self.proj_in(x)
            x = self.sgu(x)
            x = self.proj_out(x)
            return x + shortcut

    def __init__(self):
        super().__init__()
        self.to_patch_embed = nn.Sequential(Rearrange("b c (h p1) (w p2) -> b (h w) (c p1 p2)", p1=8, p2=8), nn.Linear(192, 128))
        self.layers = nn.Sequential(*[GMLP_Block() for _ in range(4)])
        self.to_logits = nn.Sequential(nn.LayerNorm(128), nn.Linear(128, 1000))

    def forward(self, x, y):
        x = self.to_patch_embed(x)
        x = self.layers(x)
        x = x.mean(dim=1)
        return F.cross_entropy(self.to_logits(x), y)


GMLP_SGU, GMLP_Block = GMLP.SGU, GMLP.Block


@written(pictures(64))
class ResMLP(nn.Module):
    """affine in place of norms, transposes around the linear over patches, layer scales"""
    class Affine(nn.Module):
        def __init__(self, dim):
            super().__init__()
            self.alpha, self.beta = nn.Parameter(torch.ones(dim)), nn.Parameter(torch.zeros(dim))

        def forward(self, x): return torch.addcmul(self.beta, self.alpha, x)

    class Block(nn.Module):
        def __init__(self, dim=128, n=64, init_values=1e-4):
            super().__init__()
            self.norm1, self.attn, self.norm2 = ResMLP_Affine(dim), nn.Linear(n, n), ResMLP_Affine(dim)
            self.fc1, self.act, self.fc2 = nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim)
            self.gamma_1, self.gamma_2 = nn.Parameter(init_values * torch.ones((dim)), requires_grad=True), nn.Parameter(init_values * torch.ones((dim)), requires_grad=True)

        def forward(self, x):
            x = x + self.gamma_1 * self.attn(self.norm1(x).transpose(1, 2)).transpose(1, 2)
            x = x + self.gamma_2 * self.fc2(self.act(self.fc1(self.norm2(x))))
            return x

    def __init__(self):
        super().__init__()
        self.patch_embed, self.blocks, self.norm, self.head = nn.Conv2d(3, 128, 8, stride=8), nn.ModuleList([ResMLP_Block() for i in range(4)]), ResMLP_Affine(128), nn.Linear(128, 1000)

    def forward(self, x, y):
        B = x.shape[0]
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        for i, blk in enumerate(self.blocks): x = blk(x)
        x = self.norm(x)
        x = x.mean(dim=1).reshape(B, 1, -1)
        x = x[:, 0]
        return F.cross_entropy(self.head(x), y)


ResMLP_Affine, ResMLP_Block = ResMLP.Affine, ResMLP.Block


def drop_path(x, drop_prob=0.1, training=False):
    if drop_prob == 0.0 or not training: return x
    keep_prob = 1 - drop_prob
    shape = (x.shape[0],) + (1,) * (x.ndim - 1)
    random_tensor = keep_prob + torch.rand(shape, dtype=x.dtype, device=x.device)
    random_tensor.floor_()
    output = x.div(keep_prob) * random_tensor
    return output


@written(pictures(64))
class PoolFormer(nn.Module):
    class Block(nn.Module):
        def __init__(self, dim, drop=0.1):
            super().__init__()
            self.norm1, self.norm2, self.pool, self.drop = nn.GroupNorm(1, dim), nn.GroupNorm(1, dim), nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False), drop
            self.fc1, self.act, self.fc2 = nn.Conv2d(dim, dim * 4, 1), nn.GELU(), nn.Conv2d(dim * 4, dim, 1)
            self.layer_scale_1, self.layer_scale_2 = nn.Parameter(1e-5 * torch.ones((dim)), requires_grad=True), nn.Parameter(1e-5 * torch.ones((dim)), requires_grad=True)

        def mixer(self, x): return self.pool(x) - x

        def forward(self, x):
            x = x + drop_path(self.layer_scale_1.unsqueeze(-1).unsqueeze(-1) * self.mixer(self.norm1(x)), self.drop, self.training)
            x = x + drop_path(self.layer_scale_2.unsqueeze(-1).unsqueeze(-1) * self.fc2(self.act(self.fc1(self.norm2(x)))), self.drop, self.training)
            return x

    def __init__(self):
        super().__init__()
        network, dims = [nn.Conv2d(3, 32, 7, 4, 2)], [32, 64, 128]
        for i, d in enumerate(dims):
            network.append(nn.Sequential(*[PoolFormer_Block(d) for _ in range(2)]))
            if i < 2: network.append(nn.Conv2d(d, dims[i + 1], 3, 2, 1))
        self.network, self.norm, self.head = nn.ModuleList(network), nn.GroupNorm(1, 128), nn.Linear(128, 1000)

    def forward(self, x, y):
        for idx, block in enumerate(self.network): x = block(x)
        x = self.norm(x)
        cls_out = self.head(x.mean([-2, -1]))
        return F.cross_entropy(cls_out, y, label_smoothing=0.1)


PoolFormer_Block = PoolFormer.Block


@written(pictures(64))
class MobileViT(nn.Module):
    """convolutions around a transformer over unfolded patches, by einops in forward"""
    class Attention(nn.Module):
        def __init__(self, dim, heads=4, dim_head=8, dropout=0.0):
            super().__init__()
            inner_dim = dim_head * heads
            self.heads, self.scale = heads, dim_head ** -0.5
            self.norm, self.attend, self.to_qkv, self.to_out = nn.LayerNorm(dim), nn.Softmax(dim=-1), nn.Linear(dim, inner_dim * 3, bias=False), nn.Sequential(nn.Linear(inner_dim, dim), nn.Dropout(dropout))

        def forward(self, x):
            x = self.norm(x)
            qkv = self.to_qkv(x).chunk(3, dim=-1)
            q, k, v = map(lambda t: rearrange(t, "b p n (h d) -> b p h n d", h=self.heads), qkv)
            dots = torch.matmul(q, k.transpose(-1, -2)) * self.scale
            attn = self.attend(dots)
            out = torch.matmul(attn, v)
            out = rearrange(out, "b p h n d -> b p n (h d)")
            return self.to_out(out)

    class Block(nn.Module):
        def __init__(self, dim, depth, channel, mlp):
            super().__init__()
            self.ph = self.pw = 2
            self.conv1, self.conv2 = self.conv_nxn(channel, channel, 3), self.conv_nxn(channel, dim, 1)
            self.layers = nn.ModuleList([nn.ModuleList([MobileViT_Attention(dim), nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, mlp), nn.SiLU(), nn.Dropout(0.1), nn.Linear(mlp, dim), nn.Dropout(0.1))]) for _ in range(depth)])
            self.conv3, self.conv4 = self.conv_nxn(dim, channel, 1), self.conv_nxn(2 * channel, channel, 3)

        @staticmethod
        def conv_nxn(i, o, k): return nn.Sequential(nn.Conv2d(i, o, k, 1, k // 2, bias=False), nn.BatchNorm2d(o), nn.SiLU())

        def forward(self, x):
            y = x.clone()
            x = self.conv1(x)
            x = self.conv2(x)
            _, _, h, w = x.shape
            x = rearrange(x, "b d (h ph) (w pw) -> b (ph pw) (h w) d", ph=self.ph, pw=self.pw)
            for attn, ff in self.layers:
                x = attn(x) + x
                x = ff(x) + x
            x = rearrange(x, "b (ph pw) (h w) d -> b d (h ph) (w pw)", h=h // self.ph, w=w // self.pw, ph=self.ph, pw=self.pw)
            x = self.conv3(x)
            x = torch.cat((x, y), 1)
            x = self.conv4(x)
            return x

    def __init__(self):
        super().__init__()
        self.conv1 = MobileViT_Block.conv_nxn(3, 16, 3)
        self.stem = nn.ModuleList([MBV2_Block(16, 32, 2, 2), MBV2_Block(32, 48, 2, 2)])
        self.trunk = nn.ModuleList([nn.ModuleList([MBV2_Block(48, 64, 1, 2), MobileViT_Block(96, 2, 64, 192)]), nn.ModuleList([MBV2_Block(64, 80, 2, 2), MobileViT_Block(120, 2, 80, 240)])])
        self.to_logits = nn.Sequential(MobileViT_Block.conv_nxn(80, 320, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(320, 1000, bias=False))

    def forward(self, x, y):
        x = self.conv1(x)
        for conv in self.stem: x = conv(x)
        for conv, attn in self.trunk:
            x = conv(x)
            x = attn(x)
        return F.cross_entropy(self.to_logits(x), y)


MobileViT_Attention, MobileViT_Block = MobileViT.Attention, MobileViT.Block


@written(pictures(64))
class CoAtNet(nn.Module):
    """MBConv, then attention with a relative bias gathered from a table, max-pooled shortcuts"""
    class Transformer(nn.Module):
        def __init__(self, inp, oup, size, heads=4, dim_head=32, downsample=True):
            super().__init__()
            self.ih, self.iw, self.downsample, self.heads, self.scale = size, size, downsample, heads, dim_head ** -0.5
            if downsample: self.pool1, self.pool2, self.proj = nn.MaxPool2d(3, 2, 1), nn.MaxPool2d(3, 2, 1), nn.Conv2d(inp, oup, 1, 1, 0, bias=False)
            self.norm1, self.norm2 = nn.LayerNorm(inp), nn.LayerNorm(oup)
            self.to_qkv, self.to_out = nn.Linear(inp, heads * dim_head * 3, bias=False), nn.Sequential(nn.Linear(heads * dim_head, oup), nn.Dropout(0.1))
            self.ff = nn.Sequential(nn.Linear(oup, 4 * oup), nn.GELU(), nn.Dropout(0.1), nn.Linear(4 * oup, oup), nn.Dropout(0.1))
            self.relative_bias_table = nn.Parameter(torch.zeros((2 * size - 1) * (2 * size - 1), heads))
            coords = torch.flatten(torch.stack(torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")), 1)
            relative_coords = coords[:, :, None] - coords[:, None, :]
            relative_coords[0] += size - 1
            relative_coords[1] += size - 1
            relative_coords[0] *= 2 * size - 1
            relative_coords = rearrange(relative_coords, "c h w -> h w c")
            relative_index = relative_coords.sum(-1).flatten().unsqueeze(1)
            self.register_buffer("relative_index", relative_index)

        def attention(self, x):
            qkv = self.to_qkv(x).chunk(3, dim=-1)
            q, k, v = map(lambda t: rearrange(t, "b n (h d) -> b h n d", h=self.heads), qkv)
            dots = torch.matmul(q, k.transpose(-1, -2)) * self.scale
            relative_bias = self.relative_bias_table.gather(0, self.relative_index.repeat(1, self.heads))
            relative_bias = rearrange(relative_bias, "(h w) c -> 1 c h w", h=self.ih * self.iw, w=self.ih * self.iw)
            dots = dots + relative_bias
            attn = F.softmax(dots, dim=-1)
            out = torch.matmul(attn, v)
            out = rearrange(out, "b h n d -> b n (h d)")
            return self.to_out(out)

        def forward(self, x):
            h = self.pool1(x) if self.downsample else x
            h = self.attention(self.norm1(rearrange(h, "b c ih iw -> b (ih iw) c")))
            h = rearrange(h, "b (ih iw) c -> b c ih iw", ih=self.ih, iw=self.iw)
            x = self.proj(self.pool2(x)) + h if self.downsample else x + h
            y = self.ff(self.norm2(rearrange(x, "b c h w -> b (h w) c")))
            return x + rearrange(y, "b (h w) c -> b c h w", h=self.ih)

    def __init__(self):
        super().__init__()
        self.s0 = nn.Sequential(nn.Conv2d(3, 32, 3, 2, 1, bias=False), nn.BatchNorm2d(32), nn.GELU(), nn.Conv2d(32, 32, 3, 1, 1, bias=False), nn.BatchNorm2d(32), nn.GELU())
        self.s1 = nn.Sequential(MBV2_Block(32, 48, 2, 4), MBV2_Block(48, 48, 1, 4))
        self.s2 = nn.Sequential(CoAtNet_Transformer(48, 96, 8), CoAtNet_Transformer(96, 96, 8, downsample=False))
        self.s3 = nn.Sequential(CoAtNet_Transformer(96, 192, 4), CoAtNet_Transformer(192, 192, 4, downsample=False))
        self.pool, self.fc = nn.AvgPool2d(4, 1), nn.Linear(192, 1000, bias=False)

    def forward(self, x, y):
        x = self.s0(x)
        x = self.s1(x)
        x = self.s2(x)
        x = self.s3(x)
        x = self.pool(x).view(-1, x.shape[1])
        x = self.fc(x)
        return F.cross_entropy(x, y)


CoAtNet_Transformer = CoAtNet.Transformer


@written(pictures(64))
class XCiT(nn.Module):
    """cross-covariance attention over channels with normalised keys, local patch interaction, layer scales of the modules"""
    class LPI(nn.Module):
        def __init__(self, dim):
            super().__init__()
            self.conv1, self.act, self.bn, self.conv2 = nn.Conv2d(dim, dim, 3, padding=1, groups=dim), nn.GELU(), nn.BatchNorm2d(dim), nn.Conv2d(dim, dim, 3, padding=1, groups=dim)

        def forward(self, x, H, W):
            B, N, C = x.shape
            x = x.permute(0, 2, 1).reshape(B, C, H, W)
            x = self.conv1(x)
            x = self.act(x)
            x = self.bn(x)
            x = self.conv2(x)
            x = x.reshape(B, C, N).permute(0, 2, 1)
            return x

    class XCA(nn.Module):
        def __init__(self, dim, num_heads=4):
            super().__init__()
            self.num_heads, self.temperature = num_heads, nn.Parameter(torch.ones(num_heads, 1, 1))
            self.qkv, self.attn_drop, self.proj, self.proj_drop = nn.Linear(dim, dim * 3, bias=True), nn.Dropout(0.1), nn.Linear(dim, dim), nn.Dropout(0.1)

        def forward(self, x):
            B, N, C = x.shape
            qkv = self.qkv(x).reshape(B, N, 3, self.num_heads, C // self.num_heads)
            qkv = qkv.permute(2, 0, 3, 1, 4)
            q, k, v = qkv[0], qkv[1], qkv[2]
            q = q.transpose(-2, -1)
            k = k.transpose(-2, -1)
            v = v.transpose(-2, -1)
            q = torch.nn.functional.normalize(q, dim=-1)
            k = torch.nn.functional.normalize(k, dim=-1)
            attn = (q @ k.transpose(-2, -1)) * self.temperature
            attn = attn.softmax(dim=-1)
            attn = self.attn_drop(attn)
            x = (attn @ v).permute(0, 3, 1, 2).reshape(B, N, C)
            x = self.proj(x)
            x = self.proj_drop(x)
            return x

    def __init__(self, dim=128, depth=3, eta=1.0):
        super().__init__()
        self.patch = nn.Sequential(nn.Conv2d(3, 64, 3, 2, 1, bias=False), nn.BatchNorm2d(64), nn.GELU(), nn.Conv2d(64, dim, 3, 2, 1, bias=False), nn.BatchNorm2d(dim))
        self.blocks = nn.ModuleList([nn.ModuleDict(dict(norm1=nn.LayerNorm(dim, eps=1e-6), attn=XCA(dim), norm3=nn.LayerNorm(dim, eps=1e-6), lpi=LPI(dim), norm2=nn.LayerNorm(dim, eps=1e-6),
                                                        mlp=nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Dropout(0.1), nn.Linear(4 * dim, dim), nn.Dropout(0.1)))) for _ in range(depth)])
        self.gammas = nn.ParameterList([nn.Parameter(eta * torch.ones(dim)) for _ in range(3 * depth)])
        self.norm, self.head = nn.LayerNorm(dim), nn.Linear(dim, 1000)

    def forward(self, x, y):
        x = self.patch(x)
        Hp, Wp = x.shape[2], x.shape[3]
        x = x.flatten(2).transpose(1, 2)
        for i, b in enumerate(self.blocks):
            x = x + drop_path(self.gammas[3 * i] * b["attn"](b["norm1"](x)), 0.1, self.training)
            x = x + drop_path(self.gammas[3 * i + 1] * b["lpi"](b["norm3"](x), Hp, Wp), 0.1, self.training)
            x = x + drop_path(self.gammas[3 * i + 2] * b["mlp"](b["norm2"](x)), 0.1, self.training)
        return F.cross_entropy(self.head(self.norm(x).mean(1)), y)


LPI, XCA = XCiT.LPI, XCiT.XCA


@written(pictures(64))
class CaiT(nn.Module):
    """talking heads (linears over heads, by permutes), class attention after"""
    class TalkingHead(nn.Module):
        def __init__(self, dim, num_heads=4):
            super().__init__()
            self.num_heads, self.scale = num_heads, (dim // num_heads) ** -0.5
            self.qkv, self.attn_drop, self.proj, self.proj_drop = nn.Linear(dim, dim * 3), nn.Dropout(0.1), nn.Linear(dim, dim), nn.Dropout(0.1)
            self.proj_l, self.proj_w = nn.Linear(num_heads, num_heads), nn.Linear(num_heads, num_heads)

        def forward(self, x):
            B, N, C = x.shape
            qkv = self.qkv(x).reshape(B, N, 3, self.num_heads, C // self.num_heads).permute(2, 0, 3, 1, 4)
            q, k, v = qkv[0] * self.scale, qkv[1], qkv[2]
            attn = (q @ k.transpose(-2, -1))
            attn = self.proj_l(attn.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
            attn = attn.softmax(dim=-1)
            attn = self.proj_w(attn.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
            attn = self.attn_drop(attn)
            x = (attn @ v).transpose(1, 2).reshape(B, N, C)
            x = self.proj(x)
            x = self.proj_drop(x)
            return x

    class ClassAttn(nn.Module):
        def __init__(self, dim, num_heads=4):
            super().__init__()
            self.num_heads, self.scale = num_heads, (dim // num_heads) ** -0.5
            self.q, self.k, self.v, self.attn_drop, self.proj = nn.Linear(dim, dim), nn.Linear(dim, dim), nn.Linear(dim, dim), nn.Dropout(0.1), nn.Linear(dim, dim)

        def forward(self, x):
            B, N, C = x.shape
            q = self.q(x[:, 0]).unsqueeze(1).reshape(B, 1, self.num_heads, C // self.num_heads).permute(0, 2, 1, 3)
            k = self.k(x).reshape(B, N, self.num_heads, C // self.num_heads).permute(0, 2, 1, 3)
            q = q * self.scale
            v = self.v(x).reshape(B, N, self.num_heads, C // self.num_heads).permute(0, 2, 1, 3)
            attn = (q @ k.transpose(-2, -1))
            attn = attn.softmax(dim=-1)
            attn = self.attn_drop(attn)
            x_cls = (attn @ v).transpose(1, 2).reshape(B, 1, C)
            return self.proj(x_cls)

    class Layer(nn.Module):
        def __init__(self, dim, attn):
            super().__init__()
            self.norm1, self.attn, self.norm2 = nn.LayerNorm(dim), attn(dim), nn.LayerNorm(dim)
            self.mlp = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Dropout(0.1), nn.Linear(4 * dim, dim), nn.Dropout(0.1))
            self.gamma_1, self.gamma_2 = nn.Parameter(1e-4 * torch.ones((dim))), nn.Parameter(1e-4 * torch.ones((dim)))

        def forward(self, x, x_cls=None):
            if x_cls is None:
                x = x + self.gamma_1 * self.attn(self.norm1(x))
                x = x + self.gamma_2 * self.mlp(self.norm2(x))
                return x
            u = torch.cat((x_cls, x), dim=1)
            x_cls = x_cls + self.gamma_1 * self.attn(self.norm1(u))
            x_cls = x_cls + self.gamma_2 * self.mlp(self.norm2(x_cls))
            return x_cls

    def __init__(self, dim=128):
        super().__init__()
        self.proj, self.cls_token, self.pos_embed, self.pos_drop = nn.Conv2d(3, dim, 8, 8), nn.Parameter(torch.zeros(1, 1, dim)), nn.Parameter(torch.zeros(1, 64, dim)), nn.Dropout(0.1)
        self.blocks = nn.ModuleList([CaiT_Layer(dim, TalkingHead) for _ in range(2)])
        self.blocks_token_only = nn.ModuleList([CaiT_Layer(dim, ClassAttn) for _ in range(2)])
        self.norm, self.head = nn.LayerNorm(dim), nn.Linear(dim, 1000)
        nn.init.trunc_normal_(self.pos_embed, std=0.02)

    def forward(self, x, y):
        B = x.shape[0]
        x = self.proj(x).flatten(2).transpose(1, 2)
        cls_tokens = self.cls_token.expand(B, -1, -1)
        x = x + self.pos_embed
        x = self.pos_drop(x)
        for i, blk in enumerate(self.blocks): x = blk(x)
        for i, blk in enumerate(self.blocks_token_only): cls_tokens = blk(x, cls_tokens)
        x = torch.cat((cls_tokens, x), dim=1)
        x = self.norm(x)
        return F.cross_entropy(self.head(x[:, 0]), y)


TalkingHead, ClassAttn, CaiT_Layer = CaiT.TalkingHead, CaiT.ClassAttn, CaiT.Layer


if __name__ == "__main__": print("\n".join(ROWS))
