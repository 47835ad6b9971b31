"""Real `model_metadata.json` files from public repositories, white space taken out, nothing else changed.

The key is the file's number in the collection that they come from, with the repository that has it.
"""

FILES: dict[str, str] = {
    # HyunJemmI/DeepRacer
    "002": (
        '{"action_space":{"steering_angle":{"high":23,"low":-18},"speed":{"high":1.5,"low":0.5}},'
        '"sensor":["STEREO_CAMERAS"],"neural_network":"DEEP_CONVOLUTIONAL_NETWORK_SHALLOW",'
        '"version":"5","training_algorithm":"clipped_ppo","action_space_type":"continuous",'
        '"preprocess_type":"GREY_SCALE","regional_parameters":["0","0","0","0"]}'
    ),
    # Embedded-Cartel/AWS_DeepRacer
    "004": (
        '{"action_space":[{"steering_angle":-40,"speed":0.5,"index":0},{"steering_angle":-35,'
        '"speed":0.7,"index":1},{"steering_angle":-20,"speed":1.5,"index":2},{"steering_angle":-15,'
        '"speed":2.0,"index":3},{"steering_angle":-10,"speed":2.5,"index":4},{"steering_angle":-5,'
        '"speed":3.0,"index":5},{"steering_angle":0,"speed":3.5,"index":6},{"steering_angle":5,'
        '"speed":3.0,"index":7},{"steering_angle":10,"speed":2.5,"index":8},{"steering_angle":15,'
        '"speed":2.0,"index":9},{"steering_angle":20,"speed":1.5,"index":10},{"steering_angle":35,'
        '"speed":0.7,"index":11},{"steering_angle":40,"speed":0.5,"index":12}],'
        '"sensor":["SECTOR_LIDAR","STEREO_CAMERAS"],'
        '"neural_network":"DEEP_CONVOLUTIONAL_NETWORK_SHALLOW","version":"5",'
        '"training_algorithm":"clipped_ppo","action_space_type":"discrete",'
        '"preprocess_type":"GREY_SCALE","regional_parameters":[0,0,0,0]}'
    ),
    # aws-deepracer-community/deepracer-custom-console
    "006": (
        '{"action_space":[{"steering_angle":30,"speed":0.6},{"steering_angle":15,"speed":0.6},'
        '{"steering_angle":0,"speed":0.6},{"steering_angle":-15,"speed":0.6},{"steering_angle":-30,'
        '"speed":0.6},{"steering_angle":30,"speed":0.3},{"steering_angle":15,"speed":0.3},'
        '{"steering_angle":0,"speed":0.3},{"steering_angle":-15,"speed":0.3},{"steering_angle":-30,'
        '"speed":0.3}],"sensor":["STEREO_CAMERAS"],'
        '"neural_network":"DEEP_CONVOLUTIONAL_NETWORK_SHALLOW"}'
    ),
    # aws-deepracer-community/deepracer-core
    "008": (
        '{"action_space":[{"steering_angle":-30,"speed":0.4,"index":0},{"steering_angle":-30,'
        '"speed":0.8,"index":1},{"steering_angle":-15,"speed":0.4,"index":2},{"steering_angle":-15,'
        '"speed":0.8,"index":3},{"steering_angle":0,"speed":0.4,"index":4},{"steering_angle":0,'
        '"speed":0.8,"index":5},{"steering_angle":15,"speed":0.4,"index":6},{"steering_angle":15,'
        '"speed":0.8,"index":7},{"steering_angle":30,"speed":0.4,"index":8},{"steering_angle":30,'
        '"speed":0.8,"index":9}]}'
    ),
    # aws-deepracer-community/deepracer-utils
    "010": (
        '{"action_space":[{"steering_angle":-30,"speed":1.0},{"steering_angle":-20,"speed":1.0},'
        '{"steering_angle":-20,"speed":2.0},{"steering_angle":-10,"speed":1.0},{"steering_angle":-10,'
        '"speed":2.0},{"steering_angle":0,"speed":1.0},{"steering_angle":0,"speed":2.0},'
        '{"steering_angle":10,"speed":1.0},{"steering_angle":10,"speed":2.0},{"steering_angle":20,'
        '"speed":1.0},{"steering_angle":20,"speed":2.0},{"steering_angle":30,"speed":1.0}],'
        '"sensor":["FRONT_FACING_CAMERA"],"neural_network":"DEEP_CONVOLUTIONAL_NETWORK_SHALLOW",'
        '"training_algorithm":"clipped_ppo","action_space_type":"discrete","version":"3"}'
    ),
    # aws-deepracer-community/deepracer-analysis
    "012": (
        '{"action_space":[{"steering_angle":-30.0,"speed":1.0,"index":0},{"steering_angle":-30.0,'
        '"speed":2.0,"index":1},{"steering_angle":-20.0,"speed":1.0,"index":2},'
        '{"steering_angle":-20.0,"speed":2.0,"index":3},{"steering_angle":-10.0,"speed":1.0,'
        '"index":4},{"steering_angle":-10.0,"speed":2.0,"index":5},{"steering_angle":0.0,"speed":1.0,'
        '"index":6},{"steering_angle":0.0,"speed":2.0,"index":7},{"steering_angle":10.0,"speed":1.0,'
        '"index":8},{"steering_angle":10.0,"speed":2.0,"index":9},{"steering_angle":20.0,"speed":1.0,'
        '"index":10},{"steering_angle":20.0,"speed":2.0,"index":11},{"steering_angle":30.0,'
        '"speed":1.0,"index":12},{"steering_angle":30.0,"speed":2.0,"index":13}],'
        '"action_space_type":"discrete","lidar_config":{"num_sectors":8,"num_values_per_sector":8,'
        '"clipping_dist":2.0},"neural_network":"DEEP_CONVOLUTIONAL_NETWORK_SHALLOW",'
        '"sensor":["FRONT_FACING_CAMERA"],"version":"4.0","training_algorithm":"clipped_ppo"}'
    ),
    # aws-deepracer-community/deepracer-for-cloud
    "014": (
        '{"action_space":{"steering_angle":{"high":10.0,"low":-20.0},"speed":{"high":4.0,"low":1.0}},'
        '"sensor":["FRONT_FACING_CAMERA"],"neural_network":"DEEP_CONVOLUTIONAL_NETWORK_SHALLOW",'
        '"version":"5","training_algorithm":"sac","action_space_type":"continuous"}'
    ),
    # aws-deepracer-community/deepracer-on-the-spot
    "016": (
        '{"action_space":{"steering_angle":{"high":30.0,"low":-30.0},"speed":{"high":2.0,"low":0.5}},'
        '"sensor":["STEREO_CAMERAS"],"neural_network":"DEEP_CONVOLUTIONAL_NETWORK_SHALLOW",'
        '"version":"5","training_algorithm":"sac","action_space_type":"continuous"}'
    ),
    # ijdoc/deepracer-for-cloud
    "018": (
        '{"action_space":{"steering_angle":{"high":30.0,"low":-30.0},"speed":{"high":2.001,'
        '"low":1.999}},"sensor":["FRONT_FACING_CAMERA"],'
        '"neural_network":"DEEP_CONVOLUTIONAL_NETWORK_SHALLOW","training_algorithm":"clipped_ppo",'
        '"action_space_type":"continuous","version":"5"}'
    ),
    # Btech-Racer/deepracer-research
    "020": (
        '{"action_space":{"steering_angle":{"high":30.0,"low":-30.0},"speed":{"high":3.8,"low":0.8}},'
        '"sensor":["STEREO_CAMERAS","LIDAR"],"neural_network":"DEEP_CONVOLUTIONAL_NETWORK_SHALLOW",'
        '"version":"4","training_algorithm":"sac","action_space_type":"continuous",'
        '"preprocess_type":"GREY_SCALE","regional_parameters":[0,0,0,0]}'
    ),
    # Btech-Racer/deepracer-research
    "022": (
        '{"action_space":{"steering_angle":{"high":28.0,"low":-28.0},"speed":{"high":4.0,"low":1.0}},'
        '"sensor":["STEREO_CAMERAS"],"neural_network":"DEEP_CONVOLUTIONAL_NETWORK_SHALLOW",'
        '"version":"6","training_algorithm":"sac","action_space_type":"continuous",'
        '"preprocess_type":"GREY_SCALE","regional_parameters":[0,0,0,0]}'
    ),
    # kkveena/cs7642-p4-deepracer--new
    "024": (
        '{"sensor":["FRONT_FACING_CAMERA"],"sensor_list":["FRONT_FACING_CAMERA"],'
        '"action_space_type":"continuous","action_space":{"steering_angle":{"high":30.0,"low":-30.0},'
        '"speed":{"high":4.0,"low":1.0}},"network":"deep_convolutional_network_shallow"}'
    ),
    # tcheungcircleci/deepracer-for-cloud-circleci
    "026": (
        '{"action_space":[{"steering_angle":-45,"speed":2.00},{"steering_angle":-30,"speed":2.00},'
        '{"steering_angle":-25,"speed":2.25},{"steering_angle":-20,"speed":2.50},'
        '{"steering_angle":-15,"speed":2.75},{"steering_angle":-10,"speed":3.00},'
        '{"steering_angle":-10,"speed":3.25},{"steering_angle":-5,"speed":3.50},{"steering_angle":-5,'
        '"speed":3.75},{"steering_angle":0,"speed":4.00},{"steering_angle":0,"speed":3.75},'
        '{"steering_angle":0,"speed":3.50},{"steering_angle":0,"speed":3.25},{"steering_angle":0,'
        '"speed":3.00},{"steering_angle":0,"speed":2.75},{"steering_angle":0,"speed":2.50},'
        '{"steering_angle":0,"speed":2.25},{"steering_angle":0,"speed":2.00},{"steering_angle":5,'
        '"speed":3.75},{"steering_angle":5,"speed":3.50},{"steering_angle":10,"speed":3.25},'
        '{"steering_angle":10,"speed":3.00},{"steering_angle":15,"speed":2.75},{"steering_angle":20,'
        '"speed":2.50},{"steering_angle":25,"speed":2.25},{"steering_angle":30,"speed":2.00},'
        '{"steering_angle":45,"speed":2.00}],"sensor":["FRONT_FACING_CAMERA"],'
        '"neural_network":"DEEP_CONVOLUTIONAL_NETWORK_SHALLOW","training_algorithm":"clipped_ppo",'
        '"action_space_type":"discrete","version":"4"}'
    ),
    # mattcamp/deepracer-local
    "028": (
        '{"action_space":[{"steering_angle":-30,"speed":1.0,"index":0},{"steering_angle":-20,'
        '"speed":1.2,"index":1},{"steering_angle":-10,"speed":1.2,"index":2},{"steering_angle":0,'
        '"speed":1.2,"index":3},{"steering_angle":10,"speed":1.2,"index":4},{"steering_angle":20,'
        '"speed":1.2,"index":5},{"steering_angle":30,"speed":1.0,"index":6}],'
        '"sensor":["FRONT_FACING_CAMERA"],"neural_network":"DEEP_CONVOLUTIONAL_NETWORK_SHALLOW",'
        '"version":"2"}'
    ),
    # stephanietang/deepracer
    "030": (
        '{"action_space":[{"steering_angle":0.3214,"speed":3.9971,"index":0},'
        '{"steering_angle":1.4607,"speed":2.5459,"index":1},{"steering_angle":12.3728,"speed":3.4672,'
        '"index":2},{"steering_angle":3.2023,"speed":3.0413,"index":3},{"steering_angle":-6.5343,'
        '"speed":3.6006,"index":4},{"steering_angle":0.3162,"speed":3.286,"index":5},'
        '{"steering_angle":18.3592,"speed":2.545,"index":6},{"steering_angle":5.6812,"speed":3.8549,'
        '"index":7},{"steering_angle":-8.6376,"speed":2.5404,"index":8},{"steering_angle":15.5569,'
        '"speed":2.9894,"index":9},{"steering_angle":8.4581,"speed":2.5389,"index":10},'
        '{"steering_angle":-7.4638,"speed":3.8541,"index":11},{"steering_angle":3.9189,'
        '"speed":2.8514,"index":12},{"steering_angle":-8.819,"speed":2.9947,"index":13},'
        '{"steering_angle":-11.5903,"speed":3.4072,"index":14},{"steering_angle":17.9683,'
        '"speed":3.7499,"index":15},{"steering_angle":4.2398,"speed":3.6115,"index":16},'
        '{"steering_angle":12.0207,"speed":3.2842,"index":17},{"steering_angle":1.1181,'
        '"speed":3.4528,"index":18},{"steering_angle":30.0,"speed":2.5,"index":19},'
        '{"steering_angle":-30.0,"speed":2.5,"index":20}],"sensor":["FRONT_FACING_CAMERA"],'
        '"neural_network":"DEEP_CONVOLUTIONAL_NETWORK_DEEP","training_algorithm":"clipped_ppo",'
        '"action_space_type":"discrete","version":"5"}'
    ),
    # Pabloin/deepracer-pei
    "032": (
        '{"action_space":[{"steering_angle":-2,"speed":3.2,"index":1},{"steering_angle":2,'
        '"speed":3.9,"index":2},{"steering_angle":-3,"speed":2.2,"index":3},{"steering_angle":3,'
        '"speed":2.6,"index":4},{"steering_angle":-4,"speed":1.8,"index":5},{"steering_angle":4,'
        '"speed":1.8,"index":6},{"steering_angle":4,"speed":2.0,"index":7},{"steering_angle":-5,'
        '"speed":2.4,"index":8},{"steering_angle":5,"speed":1.6,"index":9},{"steering_angle":-6,'
        '"speed":3.5,"index":10},{"steering_angle":-7,"speed":1.8,"index":11},{"steering_angle":8,'
        '"speed":3.3,"index":12},{"steering_angle":-12,"speed":2.2,"index":13},{"steering_angle":12,'
        '"speed":1.7,"index":14},{"steering_angle":14,"speed":2.6,"index":15},{"steering_angle":15,'
        '"speed":2.0,"index":16},{"steering_angle":-15,"speed":2.7,"index":17},{"steering_angle":-18,'
        '"speed":1.8,"index":18},{"steering_angle":20,"speed":1.5,"index":19},{"steering_angle":30,'
        '"speed":1.3,"index":20},{"steering_angle":-30,"speed":1.3,"index":21}],'
        '"sensor":["FRONT_FACING_CAMERA"],"neural_network":"DEEP_CONVOLUTIONAL_NETWORK_SHALLOW",'
        '"training_algorithm":"clipped_ppo","action_space_type":"discrete","version":"5"}'
    ),
    # Pabloin/deepracer-on-the-spot-pei
    "034": (
        '{"action_space":[{"steering_angle":-30,"speed":2.50,"index":0},{"steering_angle":-30,'
        '"speed":5.00,"index":1},{"steering_angle":-20,"speed":2.50,"index":2},{"steering_angle":-20,'
        '"speed":5.00,"index":3},{"steering_angle":-10,"speed":2.50,"index":4},{"steering_angle":-10,'
        '"speed":5.00,"index":5},{"steering_angle":0,"speed":2.50,"index":6},{"steering_angle":0,'
        '"speed":5.00,"index":7},{"steering_angle":10,"speed":2.50,"index":9},{"steering_angle":10,'
        '"speed":5.00,"index":9},{"steering_angle":20,"speed":2.50,"index":10},{"steering_angle":20,'
        '"speed":5.00,"index":11},{"steering_angle":30,"speed":2.50,"index":12},{"steering_angle":30,'
        '"speed":5.00,"index":13}],"sensor":["FRONT_FACING_CAMERA"],'
        '"neural_network":"DEEP_CONVOLUTIONAL_NETWORK_SHALLOW","training_algorithm":"clipped_ppo",'
        '"action_space_type":"discrete","version":"5"}'
    ),
    # cdthompson/deepracer-training-2019
    "036": (
        '{"action_space":[{"steering_angle":20,"speed":6,"index":0},{"steering_angle":15,"speed":8,'
        '"index":0},{"steering_angle":10,"speed":10,"index":1},{"steering_angle":0,"speed":12,'
        '"index":2},{"steering_angle":-10,"speed":10,"index":3},{"steering_angle":-15,"speed":8,'
        '"index":4}]}'
    ),
    # atlas604/aws-deepracer
    "038": (
        '{"action_space":[{"steering_angle":-30,"speed":2,"index":0},{"steering_angle":-30,"speed":4,'
        '"index":1},{"steering_angle":-20,"speed":2,"index":2},{"steering_angle":-20,"speed":4,'
        '"index":3},{"steering_angle":-10,"speed":2,"index":4},{"steering_angle":-10,"speed":4,'
        '"index":5},{"steering_angle":0,"speed":4,"index":6},{"steering_angle":0,"speed":6,'
        '"index":7},{"steering_angle":10,"speed":2,"index":8},{"steering_angle":10,"speed":4,'
        '"index":9},{"steering_angle":20,"speed":2,"index":10},{"steering_angle":20,"speed":4,'
        '"index":11},{"steering_angle":30,"speed":2,"index":12},{"steering_angle":30,"speed":4,'
        '"index":13},]}'
    ),
    # spsquare/deepracer-on-the-spot
    "040": (
        '{"action_space":[{"steering_angle":-30,"speed":1.5},{"steering_angle":-30,"speed":2.0},'
        '{"steering_angle":-30,"speed":2.5},{"steering_angle":-30,"speed":3.0},{"steering_angle":30,'
        '"speed":1.5},{"steering_angle":30,"speed":2.0},{"steering_angle":30,"speed":2.5},'
        '{"steering_angle":30,"speed":3.0},{"steering_angle":-20,"speed":1.5},{"steering_angle":-20,'
        '"speed":2.0},{"steering_angle":-20,"speed":2.5},{"steering_angle":-20,"speed":3.0},'
        '{"steering_angle":20,"speed":1.5},{"steering_angle":20,"speed":2.0},{"steering_angle":20,'
        '"speed":2.5},{"steering_angle":20,"speed":3.0},{"steering_angle":-10,"speed":1.5},'
        '{"steering_angle":-10,"speed":2.0},{"steering_angle":-10,"speed":2.5},{"steering_angle":-10,'
        '"speed":3.0},{"steering_angle":10,"speed":1.5},{"steering_angle":10,"speed":2.0},'
        '{"steering_angle":10,"speed":2.5},{"steering_angle":10,"speed":3.0},{"steering_angle":0,'
        '"speed":1.5},{"steering_angle":0,"speed":2.0},{"steering_angle":0,"speed":2.5},'
        '{"steering_angle":0,"speed":3},{"steering_angle":0,"speed":3.5},{"steering_angle":0,'
        '"speed":4.0},{"steering_angle":10,"speed":3.0},{"steering_angle":10,"speed":3.5},'
        '{"steering_angle":-10,"speed":3.0},{"steering_angle":-10,"speed":3.5}],'
        '"sensor":["FRONT_FACING_CAMERA"],"neural_network":"DEEP_CONVOLUTIONAL_NETWORK_SHALLOW",'
        '"training_algorithm":"clipped_ppo","action_space_type":"discrete","version":"5"}'
    ),
    # ronald-d-rogers/deepracer-for-dummies
    "042": (
        '{"action_space":[{"index":1,"speed":6,"steering_angle":-30},{"index":2,"speed":5,'
        '"steering_angle":-30},{"index":3,"speed":4,"steering_angle":-30},{"index":4,"speed":6,'
        '"steering_angle":-20},{"index":5,"speed":5,"steering_angle":-20},{"index":6,"speed":6,'
        '"steering_angle":-10},{"index":7,"speed":5,"steering_angle":-10},{"index":8,"speed":6,'
        '"steering_angle":0},{"index":9,"speed":5,"steering_angle":0},{"index":10,"speed":5,'
        '"steering_angle":10},{"index":11,"speed":6,"steering_angle":10},{"index":12,"speed":5,'
        '"steering_angle":20},{"index":13,"speed":6,"steering_angle":20},{"index":14,"speed":4,'
        '"steering_angle":30},{"index":15,"speed":5,"steering_angle":30},{"index":16,"speed":6,'
        '"steering_angle":30}]}'
    ),
    # anjrew/deepracer-for-cloud
    "044": (
        '{"action_space":{"speed":{"high":2,"low":1},"steering_angle":{"high":30,"low":-30}},'
        '"sensor":["FRONT_FACING_CAMERA"],"neural_network":"DEEP_CONVOLUTIONAL_NETWORK_SHALLOW",'
        '"training_algorithm":"sac","action_space_type":"continuous","version":"4"}'
    ),
    # davidj24/deepracer-for-cloud
    "046": (
        '{"action_space":[{"steering_angle":-30,"speed":1},{"steering_angle":-15,"speed":1},'
        '{"steering_angle":0,"speed":1},{"steering_angle":15,"speed":1},{"steering_angle":30,'
        '"speed":1},{"steering_angle":-30,"speed":0.3},{"steering_angle":-15,"speed":0.3},'
        '{"steering_angle":0,"speed":0.3},{"steering_angle":15,"speed":0.3},{"steering_angle":30,'
        '"speed":0.3},{"steering_angle":-15,"speed":3},{"steering_angle":0,"speed":3},'
        '{"steering_angle":15,"speed":3},{"steering_angle":0,"speed":5}],'
        '"sensor":["FRONT_FACING_CAMERA"],"neural_network":"DEEP_CONVOLUTIONAL_NETWORK_SHALLOW",'
        '"training_algorithm":"clipped_ppo","action_space_type":"discrete","version":"5"}'
    ),
    # rohand2412/deepracer
    "048": (
        '{"action_space":{"steering_angle":{"high":30.0,"low":-30.0},"speed":{"high":1.0,"low":0.5}},'
        '"sensor":["FRONT_FACING_CAMERA"],"neural_network":"DEEP_CONVOLUTIONAL_NETWORK_SHALLOW",'
        '"version":"4","training_algorithm":"clipped_ppo","action_space_type":"continuous"}'
    ),
    # markjamesross/aws-deep-racer-for-cloud
    "050": (
        '{"action_space":{"steering_angle":{"high":30.0,"low":-30.0},"speed":{"high":4.0,"low":0.5}},'
        '"sensor":["FRONT_FACING_CAMERA"],"neural_network":"DEEP_CONVOLUTIONAL_NETWORK_SHALLOW",'
        '"version":"5","training_algorithm":"clipped_ppo","action_space_type":"continuous",'
        '"preprocess_type":"GREY_SCALE","regional_parameters":[0,0,0,0]}'
    ),
    # Cydia13526/deepracer-on-the-spot-ctspeedsters
    "052": (
        '{"action_space":[{"steering_angle":4.1525,"speed":2.6306,"index":0},{"steering_angle":6.482,'
        '"speed":3.6849,"index":1},{"steering_angle":-9.0504,"speed":3.2387,"index":2},'
        '{"steering_angle":6.7927,"speed":2.0235,"index":3},{"steering_angle":12.5794,"speed":3.1172,'
        '"index":4},{"steering_angle":5.4978,"speed":3.9114,"index":5},{"steering_angle":-5.3402,'
        '"speed":2.6859,"index":6},{"steering_angle":-13.1025,"speed":3.8588,"index":7},'
        '{"steering_angle":2.2583,"speed":3.064,"index":8},{"steering_angle":4.2197,"speed":2.3236,'
        '"index":9},{"steering_angle":-0.1426,"speed":3.4906,"index":10},{"steering_angle":21.0518,'
        '"speed":3.71,"index":11},{"steering_angle":10.0806,"speed":2.8251,"index":12},'
        '{"steering_angle":-10.0281,"speed":3.6745,"index":13},{"steering_angle":17.1318,'
        '"speed":2.0215,"index":14},{"steering_angle":10.3809,"speed":3.3376,"index":15},'
        '{"steering_angle":-9.7041,"speed":3.0622,"index":16},{"steering_angle":0.9745,'
        '"speed":2.9005,"index":17},{"steering_angle":24.3797,"speed":2.7205,"index":18},'
        '{"steering_angle":-6.9726,"speed":2.322,"index":19},{"steering_angle":1.1639,"speed":3.223,'
        '"index":20},{"steering_angle":-8.6978,"speed":2.8462,"index":21},{"steering_angle":1.4195,'
        '"speed":3.8027,"index":22},{"steering_angle":18.7704,"speed":3.0271,"index":23},'
        '{"steering_angle":12.5907,"speed":3.8871,"index":24},{"steering_angle":15.208,'
        '"speed":2.3226,"index":25},{"steering_angle":-17.41,"speed":3.4208,"index":26},'
        '{"steering_angle":2.5792,"speed":2.7779,"index":27},{"steering_angle":-9.8828,'
        '"speed":2.0214,"index":28},{"steering_angle":-3.9193,"speed":3.6899,"index":29},'
        '{"steering_angle":-18.0721,"speed":3.0843,"index":30},{"steering_angle":12.383,'
        '"speed":3.6843,"index":31},{"steering_angle":19.8016,"speed":3.2716,"index":32},'
        '{"steering_angle":7.0486,"speed":3.2252,"index":33},{"steering_angle":15.3783,"speed":3.488,'
        '"index":34},{"steering_angle":2.3175,"speed":3.3544,"index":35},{"steering_angle":-0.5589,'
        '"speed":2.6299,"index":36},{"steering_angle":-8.5535,"speed":3.479,"index":37},'
        '{"steering_angle":-5.7004,"speed":3.8897,"index":38},{"steering_angle":-19.154,'
        '"speed":3.7115,"index":39},{"steering_angle":-3.2936,"speed":3.0684,"index":40},'
        '{"steering_angle":0.2113,"speed":3.9942,"index":41},{"steering_angle":-15.1396,'
        '"speed":2.6646,"index":42},{"steering_angle":1.4168,"speed":3.6552,"index":43},'
        '{"steering_angle":6.7575,"speed":3.4926,"index":44},{"steering_angle":-4.3625,'
        '"speed":3.3266,"index":45},{"steering_angle":16.7451,"speed":2.6878,"index":46},'
        '{"steering_angle":10.2887,"speed":2.6247,"index":47},{"steering_angle":7.2966,"speed":3.055,'
        '"index":48},{"steering_angle":-0.8328,"speed":2.0225,"index":49},{"steering_angle":30,'
        '"speed":2,"index":50},{"steering_angle":-30,"speed":2,"index":51},{"steering_angle":7.3414,'
        '"speed":1.5165,"index":52},{"steering_angle":19.238,"speed":1.6127,"index":53},'
        '{"steering_angle":2.0814,"speed":1.7422,"index":54},{"steering_angle":-8.9356,'
        '"speed":1.6954,"index":55},{"steering_angle":-1.3358,"speed":1.5146,"index":56},'
        '{"steering_angle":10.901,"speed":1.7417,"index":57},{"steering_angle":13.2221,"speed":1.982,'
        '"index":58},{"steering_angle":-17.8599,"speed":1.9982,"index":59},{"steering_angle":30,'
        '"speed":1.5,"index":60},{"steering_angle":-30,"speed":1.5,"index":61}],'
        '"sensor":["FRONT_FACING_CAMERA"],"neural_network":"DEEP_CONVOLUTIONAL_NETWORK_SHALLOW",'
        '"training_algorithm":"clipped_ppo","action_space_type":"discrete","version":"5"}'
    ),
    # aws-solutions-library-samples/guidance-for-training-an-aws-deepracer-model-using-amazon-sagemaker
    "054": (
        '{"action_space":[{"steering_angle":-30,"speed":1.0},{"steering_angle":-15,"speed":1.0},'
        '{"steering_angle":0,"speed":1.0},{"steering_angle":15,"speed":1.0},{"steering_angle":30,'
        '"speed":1.0}],"sensor":["STEREO_CAMERAS","LIDAR"],'
        '"neural_network":"DEEP_CONVOLUTIONAL_NETWORK"}'
    ),
}
