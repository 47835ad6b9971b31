/** Which of the models on a list is the one that the car has loaded. */

/**
 * Key of the model that the car has loaded; empty when it is none of these.
 * @param {Listed[]} models
 * @param {{policy: string, policy_hash: string} | null} car
 */
export function loadedKey(models, car) {
  if (!car || !car.policy) return "";
  return models.find((model) => (model.policy_hash ?? model.key) === car.policy_hash)?.key ?? "";
}

/**
 * What a person may choose from, and what is chosen: the model that the car has, whatever comes after a restart.
 * @param {Listed[]} models
 * @param {{policy: string, policy_hash: string} | null} car
 * @returns {{label: string, key: string, chosen: boolean}[]}
 */
export function modelChoices(models, car) {
  const loaded = loadedKey(models, car);
  const choices = models.map(({ key, name }) => ({ label: name, key, chosen: key === loaded }));
  if (loaded) return choices;
  return [{ label: car?.policy ? `${car.policy}, which is none of these` : "Choose a model", key: "", chosen: true }, ...choices];
}
